# SPDX-License-Identifier: Apache-2.0
"""Tokens, rows and environment steps of one iteration and of a whole run: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """What an iteration is made of.

    Attributes:
        tasks: per iteration (data.train_batch_size).
        group: sessions per task (rollout.n).
        max_turns: of a session.
        turns: turns of a session on average; None counts with the most.
        prompt, response: the most tokens of a turn.
        mini_batches: optimizer steps per iteration; None: by `mini_batch_tasks`.
        mini_batch_tasks: ppo_mini_batch_size; times `group` are the rows of an optimizer step.
        iterations: of the run; None where trainer.total_training_steps leaves it to the epochs.
        scored_share: share of the turns whose reply is also scored on a second prompt.
        mining_requests, mining_every, mining_tokens: the miner's settings.
    """

    tasks: int
    group: int
    max_turns: int
    prompt: int
    response: int
    mini_batch_tasks: int
    iterations: int | None
    turns: float | None = None
    mini_batches: int | None = None
    scored_share: float = 0.5
    mining_requests: int = 0
    mining_every: int = 1
    mining_tokens: int = 0


@dataclass(frozen=True)
class Budget:
    """Counts; per iteration unless named otherwise. Tokens are upper bounds: every turn at its longest."""

    sessions: int
    turns_per_session: float
    rows: int
    prompt_tokens: int
    response_tokens: int
    updates: int
    rows_per_update: int
    internalization_rows: int
    mining_tokens: float
    run_environment_steps: int | None
    run_tokens: int | None


def budget(batch: Batch) -> Budget:
    """The counts of a batch. One row is one turn, and one environment step."""
    sessions = batch.tasks * batch.group
    turns = batch.max_turns if batch.turns is None else batch.turns
    rows = math.ceil(sessions * turns)
    updates = batch.mini_batches or math.ceil(rows / (batch.mini_batch_tasks * batch.group))
    prompts, responses = rows * batch.prompt, rows * batch.response
    return Budget(
        sessions=sessions,
        turns_per_session=turns,
        rows=rows,
        prompt_tokens=prompts,
        response_tokens=responses,
        updates=updates,
        rows_per_update=math.ceil(rows / updates),
        internalization_rows=math.ceil(sessions * batch.scored_share * turns),
        mining_tokens=batch.mining_requests / batch.mining_every * (batch.prompt + batch.mining_tokens),
        run_environment_steps=None if batch.iterations is None else rows * batch.iterations,
        run_tokens=None if batch.iterations is None else (prompts + responses) * batch.iterations,
    )
