# SPDX-License-Identifier: Apache-2.0
"""Which seed an episode's environment and its generation requests get."""

from __future__ import annotations

from siri_verl.core.seeding import derive_seed


def env_seed(run_seed: int, step: int, task_id: str) -> int:
    """Of a training episode: the same for all sessions of a task, so that both arms meet the same environment."""
    return derive_seed(run_seed, "env", step, task_id)


def validation_env_seed(run_seed: int, task_id: str, session: int) -> int:
    """Of a validation episode: one for every session, the same at every step."""
    return derive_seed(run_seed, "env", "val", task_id, session)


def evaluation_env_seed(seed: int, task_id: str, repetition: int) -> int:
    """Of an evaluation's episode: the same for every trial, with and without a skill."""
    return derive_seed(seed, "eval", "env", task_id, repetition)


def request_seed(run_seed: int, name: tuple[object, ...], turn: int) -> int:
    """Of one generation request.

    Args:
        run_seed: of the run or evaluation.
        name: of the episode (`siri_verl.trajectory.episode.EpisodePlan`).
        turn: counted from 1.
    """
    return derive_seed(run_seed, "request", *name, turn)
