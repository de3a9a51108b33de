# SPDX-License-Identifier: Apache-2.0
"""Settings of internalization: which rows a token teacher scores, what is compared, and how that enters the update.

siri_verl/core/token_teacher.py has the formulas, siri_verl/core/teacher_methods.py the values of published methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from siri_verl.failures import check, check_field
from siri_verl.named import check_name_or_path

BLOCK = "siri.internalization"
OPTIONS = {
    "rows": ("skill_on_plain", "plain_under_skill", "both"),
    "target": ("sampled", "top_k", "full"),
    "top_k_of": ("teacher", "student"),
    "divergence": ("nll", "surrogate", "k3", "forward", "reverse", "jsd"),
    "role": ("loss", "advantage_term", "advantage_factor"),
    "factor_level": ("token", "row"),
    "span": ("action", "response"),
    "context": ("no_think", "think"),
    "row_weight": ("advantage", "return", "gap", "one"),
    "normalise": ("gated", "weights", "all_tokens", "rows"),
    "warmup_shape": ("linear", "cosine"),
}

TOKEN_WEIGHTS = ("one", "shift", "gate")
GATES = ("skill", "hard_tasks", "self_imitation", "positive_advantage")
WITHOUT_TEACHER = ("self_imitation", "positive_advantage")


@dataclass
class InternalizationSettings:
    """The distillation term and its ablations. s, o and t are a token's log-probabilities: of the present policy, of
    the policy before the update, and under the other prompt (docs/token_teacher.md)."""

    lambda_max: float = 0.1
    """Weight of the term after warm-up. 0 turns internalization off."""
    warmup_updates: int = 20
    """K_warm: updates of phase 2 over which lambda rises. 0 starts at lambda_max."""
    warmup_shape: str = "linear"
    """`linear`, or `cosine`: (1 - cos(pi k / K_warm)) / 2."""
    decay_updates: int | None = None
    """Updates after the warm-up over which lambda falls linearly to 0. null: it stays."""
    rows: str = "skill_on_plain"
    """`skill_on_plain`: replies of the skill arm, scored on the plain prompt; `plain_under_skill`: replies of the plain
    arm, whose teacher is the same policy under the group's skill; or `both`."""
    target: str = "sampled"
    """What is compared: the `sampled` token alone, the `top_k` tokens, or the `full` vocabulary."""
    top_k: int = 100
    """K of `target=top_k`."""
    top_k_of: str = "teacher"
    """Whose K most likely tokens: `teacher` or `student`."""
    tail: bool = True
    """With top_k: all other tokens form one more bucket. False: they are left out."""
    divergence: str = "nll"
    """`nll` -s; `surrogate` -1, which with ratio_cap and ratio_detached=false is PPO's clipped term of a positive
    advantage; `k3` exp(t - s) - 1 - (t - s); `forward` KL(teacher, student), t - s on a sampled token; `reverse`
    KL(student, teacher); `jsd`."""
    jsd_alpha: float = 0.5
    """Share of the teacher in the mixture of `jsd`."""
    role: str = "loss"
    """`loss`: a term of the loss; `advantage_term`: lambda times (t - o) is added to the advantage;
    `advantage_factor`: the advantage is multiplied by a factor that grows with t - o in the direction of its sign."""
    replaces_policy: bool = False
    """True: the term takes the place of the policy gradient; advantages become 0."""
    factor_level: str = "token"
    """With advantage_factor: one factor per `token`, or one per `row` from the mean of t - o."""
    factor_clip: float = 0.2
    """How far the factor's argument may lie from 1 (token) or 0 (row)."""
    scale: float | None = None
    """s: advantage that gets weight 1. None: the success reward under norm=mean, 1 under mean_std."""
    clip: float | None = None
    """c: largest weight. None: 1 under norm=mean, 2 under mean_std."""
    span: str = "action"
    """Which tokens of a reply are learned: `action` (the action tags and what they hold) or `response` (all)."""
    action_factor: float = 1.0
    """With span=response: weight of the action's tokens, of others 1."""
    context: str = "think"
    """`think`: the skill run's own think text stands, unlearned, before the action when it is rescored, as it did when
    it was sampled. `no_think`: the action comes right after the prompt, where a policy that always thinks first never
    acts."""
    token_weight: str = "one"
    """Weight of each token, without gradient: `one`; `shift` clip(t - s, 0, shift_cap); `gate`
    sigmoid(gate_slope (t - s)); or a function (s, t) -> weights by its path, `module:function`."""
    shift_cap: float = 1.0
    """Largest weight of token_weight=shift."""
    gate_slope: float = 5.0
    """Slope of token_weight=gate."""
    row_weight: str = "advantage"
    """Weight of each row: `advantage` clip(A / scale, 0, clip); `return`, the same of R minus the median of recent
    group means, anew at each replay; `gap` min(gap / gap_scale, gap_clip) of the group's Delta; `one`."""
    baseline_groups: int = 10240
    """Groups whose mean returns make the median of row_weight=return."""
    gap_scale: float = 0.2
    """Delta that gets weight 1 under row_weight=gap."""
    gap_clip: float = 2.0
    """Largest weight under row_weight=gap."""
    ratio_cap: float | None = None
    """Multiply each token's term by min(exp(s - o), ratio_cap). null: no such factor."""
    ratio_detached: bool = True
    """False: the gradient passes through that factor too."""
    normalise: str = "gated"
    """Denominator of an optimizer step: `gated` tokens; the sum of token `weights` (at least a tenth of the gated
    tokens); `all_tokens` of the span in the update, so that few gated tokens weigh little; `rows`: the mean of the
    rows' means."""
    steps: int = 0
    """Optimizer steps of their own for the term, after those of the policy. 0: the term is part of the policy's."""
    replay: int = 0
    """Rows of earlier iterations that are learned again in each iteration."""
    replay_steps: int = 4
    """How many iterations back they may come from."""
    gate: bool = True
    """False (ablation): every skill run is learned from, whatever its Delta."""
    advantage_weights: bool = True
    """False (ablation): every gated token has weight 1, as with row_weight=one."""
    require_active: bool = False
    """True: the skill must be active as well, not only a candidate that helped in this group."""
    log_prob_floor: float | None = None
    """Drop tokens whose plain log-probability is below this. None keeps all."""
    source: str = "skill"
    """The gate: `skill`; `hard_tasks`, solved trajectories of the skill arm in groups whose plain arm solved nothing;
    `self_imitation` (control), positive-advantage plain tokens, as many as the skill gate would have let through;
    `positive_advantage`, every turn of positive advantage; or a function by its path, `module:function`
    (docs/extending.md)."""

    def __post_init__(self) -> None:
        for name, options in OPTIONS.items():
            fix = f"use {', '.join(options[:-1])} or {options[-1]}"
            self._check(name, getattr(self, name) in options, fix)
        check_name_or_path(f"{BLOCK}.token_weight", self.token_weight, TOKEN_WEIGHTS)
        check_name_or_path(f"{BLOCK}.source", self.source, GATES)
        self._check_ranges()
        self._check_comparison()
        self._check_role()
        self._check_rows()

    def _check(self, name: str, ok: bool, fix: str) -> None:
        check_field(self, f"{BLOCK}.{name}", ok, fix)

    def _check_ranges(self) -> None:
        self._check("lambda_max", 0 <= self.lambda_max < math.inf, "use a finite number >= 0")
        for name in ("warmup_updates", "steps", "replay"):
            self._check(name, getattr(self, name) >= 0, "use 0 or more")
        for name in ("top_k", "replay_steps", "baseline_groups"):
            self._check(name, getattr(self, name) >= 1, "use 1 or more")
        self._check("decay_updates", self.decay_updates is None or self.decay_updates >= 1, "use null or 1 or more")
        for name in ("scale", "ratio_cap"):
            value = getattr(self, name)
            self._check(name, value is None or 0 < value < math.inf, "use null or a finite number > 0")
        self._check("clip", self.clip is None or self.clip > 0, "use null or a number > 0")
        for name in ("action_factor", "shift_cap", "gate_slope", "gap_scale", "gap_clip"):
            self._check(name, 0 < getattr(self, name) < math.inf, "use a finite number > 0")
        for name in ("jsd_alpha", "factor_clip"):
            self._check(name, 0 < getattr(self, name) < 1, "use a number between 0 and 1")
        floor = self.log_prob_floor
        self._check("log_prob_floor", floor is None or floor < 0, "use null or a log-probability below 0")

    def _check_comparison(self) -> None:
        """The divergence suits the target."""
        sampled = self.target == "sampled"
        fix = f"needs distributions, and target={self.target} has one token; use target=top_k or full, or forward"
        self._check("divergence", not (sampled and self.divergence == "jsd"), fix)
        fix = f"compares sampled tokens only, and target={self.target}; use forward, reverse or jsd"
        self._check("divergence", sampled or self.divergence not in ("nll", "surrogate", "k3"), fix)
        fix = "is the ratio itself, and needs its gradient; set ratio_cap and ratio_detached=false"
        ratio = self.ratio_cap is not None and not self.ratio_detached
        self._check("divergence", self.divergence != "surrogate" or ratio, fix)
        fix = "has a gradient of mean 0 on sampled tokens as a loss; use k3, target=top_k, or role=advantage_term"
        self._check("divergence", not (sampled and self.role == "loss" and self.divergence == "reverse"), fix)
        fix = f"leaves no distribution, which divergence={self.divergence} needs; use tail=true or forward"
        bare = self.target == "top_k" and not self.tail
        self._check("tail", not (bare and self.divergence in ("reverse", "jsd")), fix)
        fix = "has no effect without ratio_cap; set ratio_cap or leave it true"
        self._check("ratio_detached", self.ratio_detached or self.ratio_cap is not None, fix)
        fix = "has no effect with span=action, where every token is the action's; use span=response"
        self._check("action_factor", self.action_factor == 1 or self.span == "response", fix)
        fix = f"excludes row_weight={self.row_weight}; use row_weight=one instead"
        self._check("advantage_weights", self.advantage_weights or self.row_weight != "gap", fix)

    def _check_role(self) -> None:
        """An advantage is changed for the policy's own tokens, before the update."""
        if self.role == "loss":
            return
        for name, needed in (("rows", "plain_under_skill"), ("target", "sampled"), ("divergence", "reverse")):
            fix = f"role={self.role} changes the advantage of the policy's own tokens by t - o; use {name}={needed}"
            self._check(name, getattr(self, name) == needed, fix)
        alone = {"steps": 0, "ratio_cap": None, "normalise": "gated", "log_prob_floor": None, "replaces_policy": False}
        for name, value in alone.items():
            fix = f"belongs to a term of the loss, and role={self.role}; use role=loss or leave it at {value}"
            self._check(name, getattr(self, name) == value, fix)

    def _check_rows(self) -> None:
        """Further steps, replay, context and the control are of rows on the plain prompt."""
        if self.rows != "skill_on_plain":
            for name, value in (("steps", 0), ("replay", 0), ("context", "think"), ("source", "skill")):
                fix = f"is of rows=skill_on_plain, and rows={self.rows}; use that, or {name}={value}"
                self._check(name, getattr(self, name) == value, fix)
        if not self.has_teacher:
            allowed = {
                "divergence": ("nll", "surrogate"),
                "token_weight": ("one",),
                "row_weight": ("advantage", "return"),
            }
            for name, others in allowed.items():
                value = getattr(self, name)
                text = f"has no teacher, whose t {name}={value} needs; use {name}={others[0]}"
                check(value in others, f"{BLOCK}.source", self.source, text)
        fix = f"weighs replies by their own return, and source={self.source} weighs those of a skill; use advantage"
        self._check("row_weight", self.row_weight != "return" or not self.has_teacher, fix)
        stated = self.scale is not None and self.clip is not None
        fix = "is in units of returns; state siri.internalization.scale and clip too"
        self._check("row_weight", self.row_weight != "return" or stated, fix)

    @property
    def has_teacher(self) -> bool:
        """Whether the learned tokens were sampled under a skill, or are scored under one."""
        return self.source not in WITHOUT_TEACHER

    @property
    def needs_teacher(self) -> bool:
        """Whether t enters any formula."""
        return self.divergence not in ("nll", "surrogate") or self.token_weight != "one"

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
        share = min(1.0, update / self.warmup_updates) if self.warmup_updates else 1.0
        if self.warmup_shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        if self.decay_updates is not None:
            share *= max(0.0, 1.0 - max(0, update - 1 - self.warmup_updates) / self.decay_updates)
        return self.lambda_max * share
