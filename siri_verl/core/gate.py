# SPDX-License-Identifier: Apache-2.0
"""Which rows are learned from, and how much: the gate's row factors, the clipped advantage, and the settings of the
term."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from siri_verl.core.rows import BoolRows, FloatRows, IntRows, as_list, check_lengths, flags, numbers


@dataclass
class InternalizationSettings:
    """The distillation term and its ablations."""

    lambda_max: float = 0.1
    """Weight of the term after warm-up. 0 turns internalization off."""
    warmup_updates: int = 20
    """K_warm: updates of phase 2 over which lambda rises linearly. 0 starts at lambda_max."""
    scale: float | None = None
    """s: advantage that gets weight 1. None: the success reward under norm=mean, 1 under mean_std."""
    clip: float | None = None
    """c: largest weight. None: 1 under norm=mean, 2 under mean_std."""
    span: str = "action"
    """Which tokens of a reply are learned: `action` (the action tags and what they hold) or `response` (all)."""
    context: str = "think"
    """`think`: the skill run's own think text stands, unlearned, before the action when it is rescored, as it did when
    it was sampled. `no_think`: the action comes right after the prompt, where a policy that always thinks first never
    acts."""
    normalise: str = "gated"
    """Denominator: `gated` tokens, or `all_tokens` of the span in the update, so that few gated tokens weigh
    little."""
    gate: bool = True
    """False (ablation): every skill run is learned from, whatever its Delta."""
    advantage_weights: bool = True
    """False (ablation): every gated token has weight 1."""
    require_active: bool = False
    """True: the skill must be active as well, not only a candidate that helped in this group."""
    log_prob_floor: float | None = None
    """Drop tokens whose plain log-probability is below this. None keeps all."""
    source: str = "skill"
    """`skill`, or `self_imitation` (control): positive-advantage plain tokens, as many as the gate would have let
    through."""

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, fix: str) -> None:
            if not ok:
                raise ValueError(f"siri.internalization.{name}={getattr(self, name)!r}: {fix}")

        need(math.isfinite(self.lambda_max) and self.lambda_max >= 0, "lambda_max", "use a finite number >= 0")
        need(self.warmup_updates >= 0, "warmup_updates", "use 0 or more")
        need(self.scale is None or self.scale > 0, "scale", "use null or a number > 0")
        need(self.clip is None or self.clip > 0, "clip", "use null or a number > 0")
        need(self.span in ("action", "response"), "span", "use action or response")
        need(self.context in ("no_think", "think"), "context", "use no_think or think")
        need(self.normalise in ("gated", "all_tokens"), "normalise", "use gated or all_tokens")
        need(self.source in ("skill", "self_imitation"), "source", "use skill or self_imitation")
        floor = self.log_prob_floor
        need(floor is None or floor < 0, "log_prob_floor", "use null or a log-probability below 0")

    def scale_and_clip(self, norm: str, success_reward: float) -> tuple[float, float]:
        """(s, c) for an advantage normalisation, `mean` or `mean_std`.

        With reward 10 and norm=mean nearly every positive advantage exceeds 2: an unscaled clip would make w a
        constant.
        """
        scale, clip = {"mean": (success_reward, 1.0), "mean_std": (1.0, 2.0)}[norm]
        return (self.scale if self.scale is not None else scale, self.clip if self.clip is not None else clip)

    def lambda_at(self, update: int) -> float:
        """lambda(k); the first update of phase 2 is k = 1.

        Raises:
            ValueError: k is below 1.
        """
        if update < 1:
            raise ValueError(f"internalization: update {update}; updates of phase 2 are counted from 1")
        return self.lambda_max * (min(1.0, update / self.warmup_updates) if self.warmup_updates else 1.0)


def open_rows(
    used_skill: Sequence[bool], delta: Sequence[float], active: Sequence[bool], settings: InternalizationSettings
) -> BoolRows:
    """The gate's row factors: the trajectory used a skill, and Delta_g > 0.

    Args:
        used_skill: (rows,) the row's trajectory saw a skill.
        delta: (rows,) Delta_g of the row's group, NaN where undefined: the gate is shut there.
        active: (rows,) the skill is active; read with `require_active`.

    Returns:
        (rows,) bool.
    """
    given = {"used_skill": used_skill, "delta": delta, "active": active}
    columns = {name: as_list(f"internalization: {name}", column) for name, column in given.items()}
    check_lengths("internalization", columns)
    used = flags("internalization: used_skill", columns["used_skill"])
    gate = np.asarray(columns["delta"], dtype=np.float64) > 0  # NaN compares False
    helped = gate if settings.gate else np.ones_like(gate)
    allowed = flags("internalization: active", columns["active"]) if settings.require_active else np.ones_like(gate)
    return used & helped & allowed


def advantage_weights(
    advantage: Sequence[float], scale: float, clip: float, settings: InternalizationSettings | None = None
) -> FloatRows:
    """w = clip(A / s, 0, c): (rows,); all 1 in the ablation without advantage weights.

    Raises:
        ValueError: an advantage is not finite; the message names the row.
    """
    values = numbers("internalization: advantage", advantage)
    if settings is not None and not settings.advantage_weights:
        return np.ones_like(values)
    return np.clip(values / scale, 0.0, clip)


def self_imitation_rows(
    plain: Sequence[bool], advantage: Sequence[float], tokens: Sequence[int], target_tokens: int, seed: int
) -> BoolRows:
    """Rows of the self-imitation control: plain turns of positive advantage, at random, up to a number of tokens.

    Rows are taken in a seeded random order; one that would exceed the target is passed over.

    Args:
        plain: (rows,) the row belongs to a plain trajectory.
        advantage: (rows,) A.
        tokens: (rows,) tokens of the row's span.
        target_tokens: how many tokens the gate of the compared run let through.

    Returns:
        (rows,) bool; the chosen rows hold at most `target_tokens` tokens.
    """
    given = {"plain": plain, "advantage": advantage, "tokens": tokens}
    columns = {name: as_list(f"self imitation: {name}", column) for name, column in given.items()}
    rows = check_lengths("self imitation", columns)
    fits = flags("self imitation: plain", columns["plain"]) & (numbers("self imitation: advantage", advantage) > 0)
    chosen, left = np.zeros(rows, dtype=bool), int(target_tokens)
    for i in np.random.default_rng(seed).permutation(rows).tolist():
        count = int(columns["tokens"][i])
        if fits[i] and 0 < count <= left:
            chosen[i] = True
            left -= count
    return chosen


def deal_rows(tokens: Sequence[int], parts: int) -> IntRows:
    """Deal rows to `parts` optimizer steps (or ranks): (rows,) part numbers.

    Parts differ by at most one row, and their token numbers are evened out: the longest rows go first, each to the
    lightest part among those with the fewest rows.
    """
    if parts < 1:
        raise ValueError(f"internalization: {parts} parts; use at least 1")
    counts = np.asarray(tokens, dtype=np.int64)
    out, load, held = np.zeros(len(counts), dtype=np.int64), [0] * parts, [0] * parts
    for i in np.argsort(-counts, kind="stable").tolist():
        part = min(range(parts), key=lambda p: (held[p], load[p], p))
        out[i], held[part], load[part] = part, held[part] + 1, load[part] + int(counts[i])
    return out
