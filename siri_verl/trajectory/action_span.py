# SPDX-License-Identifier: Apache-2.0
"""Which tokens of a reply are its action."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from siri_verl.envs.replies import ACTION
from siri_verl.trajectory.decoding import decode_reply


def action_span(tokenizer: Any, token_ids: Sequence[int], pattern: re.Pattern[str] = ACTION) -> tuple[int, int]:
    """The tokens that hold the first action tags and what stands between them.

    Args:
        tokenizer: the policy's.
        token_ids: the reply.
        pattern: what an action looks like.

    Returns:
        (first, one past the last); (0, 0) without an action. A token that holds the tag's edge and other text counts.
    """
    ids = list(token_ids)

    def length(count: int) -> int:
        return len(decode_reply(tokenizer, ids[:count]))

    match = pattern.search(decode_reply(tokenizer, ids))
    if match is None:
        return 0, 0
    # Text grows with the number of tokens, so the edges are found by bisection: a few decodes, not one per token.
    counts = range(len(ids) + 1)
    start = bisect_right(counts, match.start(), key=length) - 1
    end = bisect_left(counts, match.end(), key=length)
    return start, end
