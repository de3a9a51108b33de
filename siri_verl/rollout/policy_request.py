# SPDX-License-Identifier: Apache-2.0
"""A request to a policy server: its deadline, and a check of what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


class PolicyServerError(RuntimeError):
    """A policy server did not answer, or what it answered is no reply. The message names the request."""


async def ask_policy(
    servers: Any, request_id: str, prompt_ids: list[int], params: dict[str, Any], *, timeout: float
) -> Any:
    """A reply (verl's TokenOutput).

    Args:
        servers: verl's LLMServerClient.
        request_id: of the episode.
        prompt_ids: the prompt.
        params: of sampling.
        timeout: seconds until an answer.

    Raises:
        PolicyServerError: no answer in time, token ids that are none, or not one log-prob for each token.
    """
    asked = servers.generate(request_id=request_id, prompt_ids=prompt_ids, sampling_params=params)
    try:
        output = await asyncio.wait_for(asked, timeout)
    except TimeoutError:
        raise PolicyServerError(
            f"request {request_id}: the policy server did not answer within {timeout:g} s "
            "(siri.rollout.request_timeout)"
        ) from None
    ids, log_probs = output.token_ids, output.log_probs
    if not _are_ids(ids):
        raise PolicyServerError(
            f"request {request_id}: the policy server answered {str(ids)[:80]!r}; expected token ids"
        )
    if log_probs and len(log_probs) != len(ids):
        raise PolicyServerError(
            f"request {request_id}: the policy server answered {len(ids)} tokens and {len(log_probs)} log-probs"
        )
    return output


def _are_ids(ids: Any) -> bool:
    # Engines may draw ids past the tokenizer's, of the padding of a vocabulary, so there is no upper bound.
    return isinstance(ids, Sequence) and all(isinstance(i, int) and i >= 0 for i in ids)


def tokens_of_row(output: Any, limit: int, end: int) -> tuple[list[int], list[int], list[float] | None]:
    """Tokens, mask and log-probs of a turn's row.

    An empty reply is a row of one end token that enters no loss: verl's columns have no rows without tokens.

    Args:
        output: the policy server's answer.
        limit: tokens of the longest reply.
        end: the end token.
    """
    ids = list(output.token_ids)[:limit]
    log_probs = list(output.log_probs)[:limit] if output.log_probs else None
    if not ids:
        return [end], [0], None if output.log_probs is None else [0.0]
    return ids, [1] * len(ids), log_probs
