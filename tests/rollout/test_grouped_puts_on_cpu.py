# SPDX-License-Identifier: Apache-2.0
"""GroupedPuts: one call to the queue per group, whatever its sessions do."""

import asyncio

import pytest

from siri_verl.rollout.grouped_puts import GroupedPuts


class Queue:
    """Keeps calls."""

    def __init__(self):
        self.puts, self.tags = [], []

    async def async_kv_batch_put(self, **call):
        self.puts.append(call)

    async def async_kv_put(self, **call):
        self.tags.append(call)


def play(sessions, partition="train"):
    """Run sessions (group, session, turns or an exception, delay) at once; the queue and what each returned."""
    queue = Queue()
    puts = GroupedPuts(queue, lambda fields: {"columns": fields})

    async def session(uid, number, outcome, delay):
        async with puts.session(uid, partition):
            await asyncio.sleep(delay)
            if isinstance(outcome, Exception):
                raise outcome
            names = [f"{uid}_{number}_{turn}" for turn in range(outcome)]
            await puts.async_kv_batch_put(
                keys=names,
                fields=[{"key": name} for name in names],
                tags=[{"tag": name} for name in names],
                partition_id=partition,
            )
            return queue.puts[:]

    async def all_sessions():
        return await asyncio.gather(*(session(*each) for each in sessions), return_exceptions=True)

    return queue, asyncio.run(all_sessions())


def test_the_rows_of_a_group_are_stored_in_one_call_with_their_fields_and_tags():
    queue, _ = play([("a", 0, 2, 0.02), ("a", 1, 1, 0.0), ("b", 0, 1, 0.01)])
    by_group = {call["keys"][0][0]: call for call in queue.puts}
    assert len(queue.puts) == 2
    assert sorted(by_group["a"]["keys"]) == ["a_0_0", "a_0_1", "a_1_0"]
    assert by_group["b"]["keys"] == ["b_0_0"]
    for call in queue.puts:
        assert [row["key"] for row in call["fields"]["columns"]] == call["keys"]
        assert [tag["tag"] for tag in call["tags"]] == call["keys"]
        assert call["partition_id"] == "train"


def test_a_group_is_stored_when_its_last_session_ends_and_not_before():
    queue, seen = play([("a", 0, 1, 0.0), ("a", 1, 1, 0.02)])
    assert seen == [[], []]
    assert len(queue.puts) == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_the_rows_of_sessions_that_succeed_are_stored_where_another_fails(failing):
    sessions = [["a", 0, 1, 0.0], ["a", 1, 2, 0.01]]
    sessions[failing][2] = RuntimeError("the environment is gone")
    queue, seen = play(sessions)
    assert isinstance(seen[failing], RuntimeError)
    assert [key.split("_")[1] for key in queue.puts[0]["keys"]] == [str(1 - failing)] * (2 - failing)


def test_a_group_without_rows_is_not_stored():
    queue, _ = play([("a", 0, RuntimeError("no"), 0.0)])
    assert queue.puts == []


def test_a_session_that_fails_at_once_does_not_hold_back_the_others():
    queue, _ = play([("a", 0, RuntimeError("no"), 0.0), ("a", 1, 1, 0.01), ("a", 2, 1, 0.02)])
    assert [call["keys"] for call in queue.puts] == [["a_1_0", "a_2_0"]]


def test_a_uid_with_underscores_is_one_group():
    queue, _ = play([("x_1", 0, 1, 0.0), ("x_1", 1, 1, 0.0)])
    assert [call["keys"] for call in queue.puts] == [["x_1_0_0", "x_1_1_0"]]


def test_every_other_call_passes_through():
    queue = Queue()
    asyncio.run(GroupedPuts(queue, list).async_kv_put(key="a", tag={"status": "running"}))
    assert queue.tags == [{"key": "a", "tag": {"status": "running"}}]
