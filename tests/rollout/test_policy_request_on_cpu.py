# SPDX-License-Identifier: Apache-2.0
"""A policy server that fails, is late, or answers with what is no reply."""

import asyncio
import time

import pytest
from verl.workers.rollout.replica import TokenOutput

from siri_verl.rollout.policy_request import PolicyServerError, ask_policy, tokens_of_row


class Servers:
    def __init__(self, answer, delay=0.0):
        self.answer, self.delay = answer, delay

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        await asyncio.sleep(self.delay)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def output(ids, log_probs=None):
    return TokenOutput.model_construct(token_ids=ids, log_probs=log_probs)


def ask(answer, delay=0.0, timeout=30.0):
    return asyncio.run(ask_policy(Servers(answer, delay), "r1", [1, 2], {}, timeout=timeout))


def test_a_reply_passes():
    assert ask(output([1, 2], [-0.5, -0.1])).token_ids == [1, 2]
    assert ask(output([1])).token_ids == [1]
    assert ask(output([], [])).token_ids == []


@pytest.mark.parametrize("ids", [None, "text", 7, [1, "a"], [1, -1], [None], [[1]], [0.5]])
def test_garbage_is_named(ids):
    with pytest.raises(PolicyServerError, match="request r1: the policy server answered .*expected token ids"):
        ask(output(ids))


def test_log_probs_of_other_tokens_are_named():
    with pytest.raises(PolicyServerError, match="2 tokens and 1 log-probs"):
        ask(output([1, 2], [-0.5]))


def test_a_server_that_does_not_answer_has_a_deadline():
    begun = time.monotonic()
    with pytest.raises(PolicyServerError, match=r"r1: .* within 0.05 s \(siri.rollout.request_timeout\)"):
        ask(output([1]), delay=60, timeout=0.05)
    assert time.monotonic() - begun < 30


def test_a_late_answer_within_the_deadline_is_an_answer():
    assert ask(output([1]), delay=0.05).token_ids == [1]


def test_the_servers_own_error_passes_through():
    with pytest.raises(ConnectionError):
        ask(ConnectionError("gone"))


def test_an_empty_reply_is_a_row_that_enters_no_loss():
    assert tokens_of_row(output([], []), 4, 9) == ([9], [0], [0.0])
    assert tokens_of_row(output([]), 4, 9) == ([9], [0], None)
    assert tokens_of_row(output([1, 2, 3], [0.1, 0.2, 0.3]), 2, 9) == ([1, 2], [1, 1], [0.1, 0.2])
