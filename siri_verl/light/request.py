# SPDX-License-Identifier: Apache-2.0
"""A request to the light engine, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from siri_verl.light.sampling import SamplingParams


@dataclass
class Completion:
    """The outcome of a request.

    Attributes:
        token_ids: the reply.
        log_probs: of each token of the reply, None unless asked for.
        reason: "stop" (end token or stop string), "length" or "aborted".
        first_version: weights version at the first token, or at the abort if there is none.
        last_version: weights version at the last token.
        prompt_scores: ids and log-probs at each token of the prompt (`score_prompt`); None unless asked for.
    """

    token_ids: list[int]
    log_probs: list[float] | None
    reason: str
    first_version: int | None
    last_version: int | None
    prompt_scores: tuple[list, list] | None = None


@dataclass(eq=False)
class Request:
    """A request and what it has so far."""

    request_id: str
    prompt: list[int]
    params: SamplingParams
    max_tokens: int
    future: Future = field(default_factory=Future)
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    first_version: int | None = None
    prompt_scores: tuple[list, list] | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and reply so far."""
        return len(self.prompt) + len(self.tokens)

    def stopped(self, eos_token_ids: frozenset[int], decode: Callable[[list[int]], str]) -> bool:
        """Whether the newest token ends the reply: an end token, or the last of a stop string.

        Args:
            eos_token_ids: tokens that end a reply unless the request ignores them.
            decode: token ids -> text.
        """
        params, token = self.params, self.tokens[-1]
        if token in params.stop_token_ids or (token in eos_token_ids and not params.ignore_eos):
            return True
        if not params.stop:
            return False
        # a stop string spans at most one token per byte; one more for a character cut at the window's edge
        window = max(len(s.encode()) for s in params.stop) + 1
        text = decode(self.tokens[-window:])
        return any(s in text for s in params.stop)
