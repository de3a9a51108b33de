# SPDX-License-Identifier: Apache-2.0
"""Stops runs and evaluations in which hardly any reply is well formed."""

from __future__ import annotations

STEPS = 5
"""Training steps that are looked at."""
EPISODES = 50
"""Episodes of an evaluation that are looked at."""


class MalformedRepliesError(RuntimeError):
    """The replies of a run or an evaluation are malformed."""


class MalformedReplies:
    """Counts the replies of the first steps of a run, or of the first episodes of an evaluation.

    Args:
        limit: share of malformed replies that stops; None counts nothing.
        field: of the limit, for the message.
        batches: steps or episodes that are looked at.
    """

    def __init__(self, limit: float | None, field: str, batches: int):
        self.limit, self.field, self.batches = limit, field, batches
        self._replies = self._malformed = self._seen = 0

    def add(self, malformed: int, replies: int) -> None:
        """Count a step or an episode.

        Raises:
            MalformedRepliesError: it is the last that is looked at, and the share of malformed replies in all of them
                reaches the limit.
        """
        self._seen += 1
        if self.limit is None or self._seen > self.batches:
            return
        self._malformed, self._replies = self._malformed + malformed, self._replies + replies
        if self._seen == self.batches and self._replies and self._malformed >= self.limit * self._replies:
            raise MalformedRepliesError(
                f"{self._malformed} of the first {self._replies} replies are malformed ({self.field}={self.limit}): "
                "they lack <think> </think> or <action> </action>. Look at the replies in trajectories.jsonl. Frequent "
                "causes: the replies are cut at the response length; the chat template or the endpoint hides the "
                "thoughts; the model needs another siri.prompt.template or a warm start."
            )
