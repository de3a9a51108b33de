# SPDX-License-Identifier: Apache-2.0
"""GiGPO as verl's advantage estimator, and estimators over rows that are turns.

verl hands an estimator `token_level_rewards, response_mask, config, index` and no anchors, so the seam is one level
up: verl's V1 trainers (sync, colocate_async, separate_async and siri alike) call
`trainer_base.compute_advantage_for_multi_trajectories(data, batch_keys, ...)`, which is replaced by
`advantages_over_turns` here. It sees the row keys and so can fetch the turn fields. `over_turns` and `tests/contracts`
check its signature. The other function replaced is that of rollout correction (`metrics_of_tokens`).

- `gigpo`: one advantage per turn, from anchors; a row is a turn, or holds a trajectory whose turns are the runs of ones
  of its response mask (siri_verl/training/turn_table.py). The siri trainer has computed the advantages already
  (`rows_are_turns`); in verl's other trainer modes they are computed here, from fields in the row store.
- verl's outcome estimators treat every row as an independent sample (grpo excepted); over turns that would weigh long
  trajectories more, so they are given one row per trajectory and their advantage is spread over the trajectory's turns.
  Rows whose response mask is empty (padding, trajectories that do not count) stay out.
- `gae` is left to verl: it is token-level and needs no groups. verl's other estimators are refused over turns.
- Where every trajectory is one row, all but `gigpo` run as verl made them; so do estimators that verl does not know.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from siri_verl.failures import ConfigError
from siri_verl.settings.read import gigpo_settings
from siri_verl.training.advantages import token_advantages

TOKEN_LEVEL = ("gae",)
ONE_ROW_PER_TRAJECTORY = (
    "grpo",
    "rloo",
    "rloo_vectorized",
    "opo",
    "grpo_passk",
    "gpg",
    "grpo_vectorized",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
)
NEED_MORE = {
    "gdpo": "it normalises reward dimensions per row",
    "remax": "it needs a greedy rollout's score of every row (reward_baselines)",
    "optimal_token_baseline": "it needs sum_pi_squared of every row, and counts rows as samples",
    "tir_optimal_token_baseline": "it treats a row as a whole trajectory and finds the turns in it",
}
"""Estimators of verl that see every row as a sample and cannot be given one row per trajectory, and why."""


@dataclass(frozen=True)
class _TurnRows:
    gigpo: np.ndarray | None


_BATCH: ContextVar[_TurnRows | None] = ContextVar("siri_turn_rows", default=None)


@contextmanager
def rows_are_turns(gigpo: np.ndarray | None) -> Iterator[None]:
    """Within the block, verl's advantage function takes every row of the batch for a turn.

    Args:
        gigpo: (rows, 1) or (rows, response_length) the advantages that the estimator `gigpo` returns, in the order of
            the batch; None where another estimator runs.
    """
    token = _BATCH.set(_TurnRows(gigpo))
    try:
        yield
    finally:
        _BATCH.reset(token)


def check_estimator(name: str) -> None:
    """Raise ConfigError unless the estimator has a defined meaning over rows that are turns."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    known = ("gigpo", *TOKEN_LEVEL, *ONE_ROW_PER_TRAJECTORY)
    if name not in known and name not in ADV_ESTIMATOR_REGISTRY:
        close = ["gae"] if name == "ppo" else difflib.get_close_matches(str(name).lower(), known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ConfigError(f"algorithm.adv_estimator={name!r}: no such estimator; {hint}use one of {', '.join(known)}")
    if name not in known:
        raise ConfigError(
            f"algorithm.adv_estimator={name!r}: with one row per turn it would see every turn as an independent "
            f"sample, and no way to give it one row per trajectory is known; use one of {', '.join(known)}"
        )


def gigpo_estimator(
    token_level_rewards: torch.Tensor, response_mask: torch.Tensor, config: Any = None, **kwargs: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """verl's estimator interface (verl/trainer/ppo/core_algos.py): advantages and returns, both (rows,
    response_length).

    Raises:
        ConfigError: called outside `advantages_over_turns`, where no anchors are available.
    """
    batch = _BATCH.get()
    if batch is None or batch.gigpo is None:
        raise ConfigError(
            "algorithm.adv_estimator=gigpo: no anchors are available here. GiGPO runs in verl's V1 trainers "
            "(trainer.use_v1=True), where the agent loop states anchors per row (docs/your_agent_loop.md)"
        )
    advantages = torch.as_tensor(batch.gigpo, dtype=torch.float32, device=response_mask.device) * response_mask
    return advantages, advantages


def _one_row_per_trajectory(original: Callable, data: Any, batch_keys: Sequence[str], **settings: Any) -> Any:
    """Run an outcome estimator on each trajectory's last row and spread its advantage over the trajectory's turns."""
    from siri_verl.training.step_table import split_key

    sessions = [split_key(key)[:2] for key in batch_keys]
    last: dict[tuple[str, str], int] = {}
    for i, key in enumerate(batch_keys):
        name = sessions[i]
        if name not in last or split_key(key)[2] > split_key(batch_keys[last[name]])[2]:
            last[name] = i
    # Rows with an empty mask would enter whole-batch statistics as trajectories with score 0.
    mask = data.batch["response_mask"]
    chosen = {name: i for name, i in last.items() if bool(mask[i].any())}
    names = list(chosen)
    part = original(
        data.select_idxs([chosen[name] for name in names]), [batch_keys[chosen[n]] for n in names], **settings
    )
    first = part.batch["response_mask"].argmax(dim=1)
    value = part.batch["advantages"][torch.arange(len(names)), first]
    position = {name: i for i, name in enumerate(names)}
    index = torch.tensor([position.get(name, -1) for name in sessions])
    per_row = torch.where(index >= 0, value[index.clamp(min=0)], torch.zeros(1, dtype=value.dtype))
    data.batch["advantages"] = per_row.unsqueeze(-1) * mask
    data.batch["returns"] = data.batch["advantages"]
    return data


def _check_signature(original: Callable) -> None:
    """verl's function takes what ours passes on.

    Raises:
        RuntimeError: it does not; the message states what to change.
    """
    from siri_verl.seams.training import SEAMS

    (expected,) = [s.parameters for s in SEAMS if s.target.endswith(":compute_advantage_for_multi_trajectories")]
    found = tuple(inspect.signature(original).parameters)
    if found != expected:
        raise RuntimeError(
            f"verl's compute_advantage_for_multi_trajectories takes {found}, expected {expected}: gigpo and estimators "
            "over turns are not available; adapt over_turns in siri_verl/training/estimator.py"
        )


def over_turns(original: Callable) -> Callable:
    """verl's `compute_advantage_for_multi_trajectories`, for rows that are turns. Same signature.

    Raises:
        RuntimeError: verl's function has another signature than the one known.
    """
    _check_signature(original)

    @functools.wraps(original)
    def advantages_over_turns(data: Any, batch_keys: list[str], adv_estimator: Any, **settings: Any) -> Any:
        name = str(getattr(adv_estimator, "value", adv_estimator))
        if name == "gigpo" and _BATCH.get() is None:
            with rows_are_turns(_fetched_advantages(data, batch_keys, settings.get("config"))):
                return original(data, batch_keys, adv_estimator=adv_estimator, **settings)
        if _BATCH.get() is not None or _share_trajectories(batch_keys):
            if name in ONE_ROW_PER_TRAJECTORY:
                return _one_row_per_trajectory(original, data, batch_keys, adv_estimator=adv_estimator, **settings)
            if name in NEED_MORE:
                raise ConfigError(
                    f"algorithm.adv_estimator={name!r}: the agent loop returns one row per turn, and "
                    f"{NEED_MORE[name]}; use one of gigpo, {', '.join((*TOKEN_LEVEL, *ONE_ROW_PER_TRAJECTORY))}"
                )
        return original(data, batch_keys, adv_estimator=adv_estimator, **settings)

    advantages_over_turns.__siri__ = True  # type: ignore[attr-defined]
    return advantages_over_turns


def metrics_of_tokens(original: Callable) -> Callable:
    """verl's `compute_rollout_correction_and_add_to_batch`; in the siri trainer its metrics are of the rows that have
    tokens. Same signature.

    verl counts a row with an empty response mask (padding, internalization rows) as a sequence of weight 0.
    """

    @functools.wraps(original)
    def corrected(batch: Any, rollout_corr_config: Any) -> tuple[Any, dict]:
        rows = batch.batch["response_mask"].any(dim=1).nonzero().flatten().tolist()
        if _BATCH.get() is None or not rows or len(rows) == len(batch):
            return original(batch, rollout_corr_config)
        _, metrics = original(batch.select_idxs(rows), rollout_corr_config)
        return original(batch, rollout_corr_config)[0], metrics

    return corrected


def _fetched_advantages(data: Any, batch_keys: Sequence[str], algorithm: Any) -> np.ndarray:
    """GiGPO advantages from the turn fields in the row store, for trainers that do not have them."""
    from siri_verl.training.turn_table import fetch_turns

    mask = data.batch["response_mask"]
    # verl's padding rows, whose fields are copies of another row's (verl/trainer/ppo/padding_utils.py)
    tags = [{"is_padding": key.startswith("pad") and not bool(mask[i].any())} for i, key in enumerate(batch_keys)]
    return token_advantages(fetch_turns(batch_keys, tags), gigpo_settings(algorithm), mask.shape[1])


def _share_trajectories(batch_keys: Sequence[str]) -> bool:
    """Whether some trajectory has several rows."""
    sessions = [key.rsplit("_", 1)[0] for key in batch_keys]
    return len(set(sessions)) < len(sessions)
