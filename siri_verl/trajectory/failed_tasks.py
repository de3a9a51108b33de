# SPDX-License-Identifier: Apache-2.0
"""Tasks that cannot be played, through no fault of the model: each costs its own episodes; many of them stop the run.

A task fails where its environment raises, or where its first prompt does not fit.
"""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

LOOKED_AT = 10
"""Tasks that are tried before the share of failed ones may stop a run."""
NAMED = 3
LIMIT = 0.5
"""The default limit."""


class FailedTasksError(RuntimeError):
    """Too many tasks cannot be played. The message names some of them and why."""


class FailedTasks:
    """Counts the tasks that were tried, and names those that failed.

    Args:
        limit: share of failed tasks above which to stop; None never stops.
        field: of the limit, for the message.

    Attributes:
        reasons: failed task -> why, the last line of the error.
    """

    def __init__(self, limit: float | None, field: str):
        self.limit, self.field = limit, field
        self.reasons: dict[str, str] = {}
        self._tried: set[str] = set()

    def tried(self, task_id: str) -> None:
        """An episode of the task was asked for."""
        self._tried.add(task_id)

    def failed(self, task_id: str, reason: str | BaseException) -> None:
        """An episode of the task could not be begun, or its environment raised.

        Args:
            task_id: the task.
            reason: an error, or its text, of which the last line is kept.

        Raises:
            FailedTasksError: the share of failed tasks among the first ten or more is above the limit.
        """
        if isinstance(reason, BaseException):
            reason = f"{type(reason).__name__}: {reason}"
        last = (reason.strip() or "no reason is given").splitlines()[-1]
        if task_id not in self.reasons:
            logger.warning("task %s cannot be played and does not count: %s", task_id, last)
        self._tried.add(task_id)
        self.reasons[task_id] = last
        if len(self._tried) >= LOOKED_AT:
            self.check()

    def check(self) -> None:
        """Raise FailedTasksError where the share of failed tasks is above the limit, however few were tried."""
        tried, failed = len(self._tried), len(self.reasons)
        if self.limit is None or failed <= self.limit * tried:
            return
        named = "; ".join(f"{task}: {reason}" for task, reason in list(self.reasons.items())[:NAMED])
        more = f" and {failed - NAMED} more" if failed > NAMED else ""
        raise FailedTasksError(
            f"{failed} of the {tried} tasks tried cannot be played ({self.field}={self.limit}): {named}{more}. Mend "
            "the environment, or make a panel without these tasks (siri-verl data panel --check)"
        )
