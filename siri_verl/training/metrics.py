# SPDX-License-Identifier: Apache-2.0
"""Metrics of a step and of a validation, prefix `siri/`."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from siri_verl.core.gigpo import GigpoAdvantages
from siri_verl.core.pairing import SKILL, TreatmentEffect, effect_rows
from siri_verl.core.phases import Census, PhaseMachine
from siri_verl.core.statistics import wilson
from siri_verl.training.gates import shown_skill
from siri_verl.training.step_table import StepTable, split_key
from siri_verl.trajectory.turn import Status

TEXT_INFOS = ("category", "split", "status")
"""Entries of `reward_extra_info` that are text: kept from verl's own validation statistics, which want numbers."""


class IncompleteBatchError(RuntimeError):
    """Some trajectories of the batch are missing."""


def check_sessions(keys: Sequence[str], expected: int) -> None:
    """Check that every task has all its trajectories. verl itself continues with the others after a failed rollout.

    Args:
        keys: row keys of a batch, without padding.
        expected: trajectories asked for.

    Raises:
        IncompleteBatchError: how many are missing; the cause is in the rollout worker's log.
    """
    found = len({split_key(key)[:2] for key in keys})
    if found != expected:
        raise IncompleteBatchError(
            f"rollout: {found} of {expected} trajectories arrived; the missing ones failed in the agent loop (their "
            "traceback is in the log above, 'Error in _run_prompt')"
        )


def rollout_metrics(table: StepTable) -> dict[str, float]:
    """Outcomes of a batch's trajectories. Shares are of trajectories (success, statuses) or of turns (valid,
    admissible). Trajectories that lost their environment count in the shares of statuses only.

    Raises:
        IncompleteBatchError: every trajectory lost its environment.
    """
    every, real = table.last_rows(), table.usable
    last = every[real[every]]
    if not len(last):
        named = sorted({f"{table.task_id[i]}: {table.status[i]}, {table.reason[i]}" for i in every})
        raise IncompleteBatchError(
            "rollout: no episode of the batch counts; every one lost its environment or could not be started "
            f"({'; '.join(named[:3])})"
        )
    success = table.success[last].astype(float)
    metrics = {
        "siri/success": float(success.mean()),
        "siri/score": float(table.score[last].mean()),
        "siri/return": float(table.trajectory_return[last].mean()),
        "siri/turns": float(real.sum() / len(last)),
        "siri/rows": float(table.real.sum()),
        "siri/valid_share": float(table.valid[real].mean()),
        "siri/admissible_share": float(table.admissible[real].mean()),
        "siri/history_dropped_share": float((table.history_dropped[real] > 0).mean()),
        "siri/excluded_share": float(1 - len(last) / len(every)),
    }
    for status in sorted(set(table.status[every].astype(str))):
        metrics[f"siri/status/{status}"] = float((table.status[every] == status).mean())
    groups = table.group[last].astype(str)
    by_group = [returns_of for g in np.unique(groups) if (returns_of := success[groups == g]).size]
    metrics["siri/groups_without_signal"] = float(np.mean([np.ptp(values) == 0 for values in by_group]))
    metrics.update(by_category(table.category[last].astype(str), success, "siri/success"))
    return metrics | spread_metrics(table)


def spread_metrics(table: StepTable) -> dict[str, float]:
    """Numbers of nodes that ran environments and of policy servers that wrote replies, with the smallest share of turns
    of one of them; absent where rows do not name them."""
    metrics: dict[str, float] = {}
    for name in ("node", "server"):
        places, turns = np.unique(getattr(table, name)[table.real].astype(str), return_counts=True)
        if "" not in places:
            metrics[f"siri/rollout/{name}s"] = float(len(places))
            metrics[f"siri/rollout/{name}_share_min"] = float(turns.min() / turns.sum())
    return metrics


def by_category(categories: Sequence[str], success: np.ndarray, prefix: str) -> dict[str, float]:
    """Success per category, for categories that have a name."""
    categories = np.asarray(categories)
    return {f"{prefix}/{name}": float(success[categories == name].mean()) for name in sorted(set(categories)) if name}


def advantage_metrics(result: GigpoAdvantages, table: StepTable) -> dict[str, float]:
    """Sizes of the two advantage terms and of the step groups, over usable rows."""
    rows = table.usable
    return {
        "siri/advantage/episode_abs": float(np.abs(result.episode[rows]).mean()),
        "siri/advantage/step_abs": float(np.abs(result.step[rows]).mean()),
        "siri/advantage/total_std": float(result.total[rows].std()),
        "siri/advantage/zero_share": float((result.total[rows] == 0).mean()),
        "siri/step_group/size_mean": float(result.step_group_size[rows].mean()),
        "siri/step_group/alone_share": float((result.step_group_size[rows] == 1).mean()),
    }


def effect_metrics(table: StepTable, effects: dict[Hashable, TreatmentEffect], span: str) -> dict[str, float]:
    """The arms, Delta_g over the paired groups, and the turns that pass each factor of the gate.

    Args:
        table: the rows of the step, without padding.
        effects: group -> treatment effect.
        span: `action` or `response`, the learned tokens.
    """
    deltas = np.array([effect.delta for effect in effects.values() if effect.defined])
    in_arm = table.arm == SKILL
    metrics = {
        "siri/skill_row_share": float(in_arm.mean()),
        "siri/paired_groups": float(len(deltas)),
        "siri/skill_missing_share": float(table.skill_missing.mean()),
    }
    # The gate's factors, one after the other: skill turns, those of helped groups, their learned tokens.
    used = shown_skill(table)
    positive = used & (effect_rows(table.group.tolist(), effects) > 0)
    metrics |= {
        "siri/gate/used_turns": float(used.sum()),
        "siri/gate/positive_turns": float(positive.sum()),
        "siri/gate/action_tokens": float(table.span_tokens(span)[positive & table.valid].sum()),
    }
    for name, members in (("plain", ~in_arm), ("skill", in_arm)):
        last = [i for i in table.last_rows() if members[i] and table.usable[i]]
        if last:
            metrics[f"siri/success_{name}_arm"] = float(table.success[last].mean())
    if len(deltas):
        metrics |= {
            "siri/delta/mean": float(deltas.mean()),
            "siri/delta/std": float(deltas.std()),
            "siri/delta/positive_share": float((deltas > 0).mean()),
            "siri/delta/min": float(deltas.min()),
            "siri/delta/max": float(deltas.max()),
        }
    excluded = [effect for effect in effects.values() if effect.skill_id and effect.undefined == "excluded"]
    return metrics | {"siri/excluded_groups": float(len(excluded))}


def phase_metrics(machine: PhaseMachine, census: Census) -> dict[str, float]:
    """The phase, and the bank in numbers; internalized skills where there are some."""
    internalized = {"siri/bank/internalized": float(census.internalized)} if census.internalized else {}
    return internalized | {
        "siri/phase": float(machine.index),
        "siri/phase_steps": float(machine.steps),
        "siri/bank/candidate": float(census.candidate),
        "siri/bank/active": float(census.active),
        "siri/bank/retired": float(census.retired),
        "siri/bank/task_types": float(census.types),
        "siri/bank/active_types": float(census.active_types),
    }


def validation_metrics(infos: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Success with its 95 % Wilson interval, score, and success by category, from the episodes' `reward_extra_info`.

    Where the panels name several splits (seen and unseen rooms), the same for each: `siri/val/split/<split>/success`.
    Episodes that lost their environment are left out; `siri/val/excluded_share` is their share.

    Raises:
        IncompleteBatchError: every episode lost its environment.
    """
    if "success" not in infos:
        return {}
    counts = np.array([Status.counts(s) for s in infos.get("status", [""] * len(infos["success"]))], dtype=bool)
    if not counts.any():
        raise IncompleteBatchError(
            "validation: no episode counts; every one lost its environment or could not be started"
        )
    infos = {name: list(itertools.compress(values, counts)) for name, values in infos.items()}
    success = np.array([bool(value) for value in infos["success"]], dtype=float)
    low, high = wilson(int(success.sum()), len(success))
    metrics = {
        "siri/val/success": float(success.mean()),
        "siri/val/success_low": low,
        "siri/val/success_high": high,
        "siri/val/episodes": float(len(success)),
        "siri/val/excluded_share": float(1 - counts.mean()),
    }
    for name in ("score", "turns", "valid_share"):
        if name in infos:
            metrics[f"siri/val/{name}"] = float(np.mean([float(value) for value in infos[name]]))
    categories = [str(c or "") for c in infos.get("category", [""] * len(success))]
    metrics.update(by_category(categories, success, "siri/val/success"))
    metrics |= {f"siri/val/episodes/{n}": float(categories.count(n)) for n in sorted(set(categories)) if n}
    splits = np.array([str(s or "") for s in infos.get("split", [""] * len(success))])
    names = sorted(set(splits) - {""})
    for name in names if len(names) > 1 else []:
        chosen, prefix = splits == name, f"siri/val/split/{name}"
        low, high = wilson(int(success[chosen].sum()), int(chosen.sum()))
        metrics |= {f"{prefix}/success": float(success[chosen].mean()), f"{prefix}/episodes": float(chosen.sum())}
        metrics |= {f"{prefix}/success_low": low, f"{prefix}/success_high": high}
        metrics |= by_category(np.array(categories)[chosen], success[chosen], f"{prefix}/success")
    return metrics
