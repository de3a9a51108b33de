# SPDX-License-Identifier: Apache-2.0
"""The rollout workers: real Ray actors and environment servers, rows in TransferQueue; only the policy is scripted."""

import asyncio
import itertools
import time

import numpy as np
import pytest
import ray
from support.scripted_policy import ScriptedPolicy, act, settings
from support.tiny_model import make_tiny_model, make_tokenizer
from verl.utils import tensordict_utils as tu

from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.rollout.task_columns import add_columns, add_exploration
from siri_verl.rollout.worker import SiriAgentLoopManager
from siri_verl.skills.skill import Provenance, Skill

SESSIONS, PLAIN_SESSIONS = 4, 2
STEPS = itertools.count(1)  # requests are named by step, task, arm and session; the script counts turns by name
TASKS = ("toy-coin-shelf-kitchen", "toy-lamp-box-attic", "toy-book-table-garden")


def skill(number, strategy):
    return Skill(f"s{number:04d}", "a note names the room", strategy, "all", Provenance("", "", 0, "hand"))


SKILLS = [skill(1, "go where the note says and take it"), None, skill(2, "leave the hall by the named door")]


class Together:
    """Answers the first turn of a task's sessions once all of them have asked."""

    def __init__(self):
        self.waiting: dict[str, list] = {}

    def __call__(self, turn, prompt):
        return self.answer(turn, prompt)

    async def answer(self, turn, prompt):
        if turn == 1:
            task = next(line for line in prompt.splitlines() if line.startswith("Task:"))
            mine = asyncio.get_running_loop().create_future()
            asked = self.waiting.setdefault(task, [])
            asked.append(mine)
            if len(asked) == SESSIONS:
                for future in self.waiting.pop(task):
                    future.set_result(None)
            await asyncio.wait_for(mine, 60)
        return act("go hall")


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def manager(transfer_queue, tokenizer, tmp_path_factory):
    model = make_tiny_model(tmp_path_factory.mktemp("model"))
    config = settings(
        actor_rollout_ref__model__path=str(model),
        actor_rollout_ref__rollout__n=SESSIONS,
        actor_rollout_ref__rollout__agent__num_workers=2,
        siri__rollout__max_turns=2,
    )
    made = SiriAgentLoopManager.create(config=config, llm_client=ScriptedPolicy(tokenizer, Together()))
    yield made
    for worker in made.agent_loop_workers:
        ray.kill(worker)


def tasks(validate=False):
    """A batch of tasks as verl's trainer hands it to the manager."""
    rows = {
        "task_id": np.array(TASKS, dtype=object),
        "uid": np.array([f"{time.monotonic_ns()}-{k}" for k in range(len(TASKS))], dtype=object),
        "index": np.arange(len(TASKS)),
        "raw_prompt": np.array([[{"role": "user", "content": ""}]] * len(TASKS), dtype=object),
    }
    batch = tu.get_tensordict(rows)
    tu.assign_non_tensor_data(batch, "global_steps", next(STEPS))
    if validate:
        tu.assign_non_tensor_data(batch, "validate", True)
    return batch


def rollout(manager, tq, batch, partition="train"):
    """(task, session) -> rows of that episode, each a dict of columns."""
    uids = [str(uid) for uid in batch["uid"]]
    tq.kv_batch_put(keys=uids, partition_id=partition, tags=[{"is_prompt": True, "status": "pending"}] * len(uids))
    manager.generate_sequences(batch)
    limit = time.monotonic() + 240
    while True:
        found = tq.kv_list(partition)[partition]
        states = [found[uid]["status"] for uid in uids]
        assert "failure" not in states and time.monotonic() < limit, states
        if states == ["finished"] * len(uids):
            break
        time.sleep(0.1)
    episodes = {}
    for key in sorted(key for key in found if key not in uids and key.rsplit("_", 2)[0] in uids):
        uid, session, _ = key.rsplit("_", 2)
        row = tq.kv_batch_get(keys=[key], partition_id=partition)[0]
        fields = row["extra_fields"]
        row = {"prompts": row["prompts"].tolist(), **getattr(fields, "data", fields)}
        episodes.setdefault((TASKS[uids.index(uid)], int(session)), []).append(row)
    assert len(episodes) == len(TASKS) * SESSIONS
    return episodes


@pytest.fixture(scope="module")
def paired(manager, transfer_queue):
    batch = tasks()
    add_columns(batch, SKILLS, PLAIN_SESSIONS)
    return rollout(manager, transfer_queue, batch)


def test_explored_sessions_are_sampled_at_the_other_temperature(manager, transfer_queue):
    batch = tasks()
    add_columns(batch, SKILLS, PLAIN_SESSIONS)
    add_exploration(batch, [1, 0, 3], 1.5)
    for (task, session), rows in rollout(manager, transfer_queue, batch).items():
        explored = session < [1, 0, 3][TASKS.index(task)]
        assert {row["server"] for row in rows} == {f"temperature {1.5 if explored else 1.0}"}


def test_sessions_are_dealt_to_the_arms_and_run_side_by_side(paired):
    # 'Together' answers nobody before all sessions of the task have asked: both arms are in flight at once
    for (task, session), rows in paired.items():
        shown = SKILLS[TASKS.index(task)]
        in_arm = shown is not None and session >= PLAIN_SESSIONS
        assert {row["arm"] for row in rows} == {SKILL if in_arm else PLAIN}
        assert {row["skill_id"] for row in rows} == {shown.skill_id if in_arm else ""}
        assert [row["task_id"] for row in rows] == [task] * 2


def test_columns_survive_the_cut_into_one_chunk_per_worker(manager, paired, tokenizer):
    assert len(manager.agent_loop_workers) == 2  # three tasks: chunks of two and one
    for (task, session), rows in paired.items():
        for row in rows:
            prompt = tokenizer.decode(row["prompts"])
            for listed in (s for s in SKILLS if s is not None):
                wanted = listed is SKILLS[TASKS.index(task)] and session >= PLAIN_SESSIONS
                assert (listed.block in prompt) is wanted


def test_skill_rows_carry_the_plain_prompt_of_their_turn(paired):
    for (task, _), rows in paired.items():
        plain = paired[task, 0]  # the same actions were scripted, so the same turn is the same plain prompt
        for turn, row in enumerate(rows):
            assert row["anchor"] == plain[turn]["anchor"]
            if row["arm"] == SKILL:
                assert row["plain_prompt_ids"] == plain[turn]["prompts"] != row["prompts"]
            else:
                assert row["plain_prompt_ids"] is None and row["prompts"] == plain[turn]["prompts"]


def test_without_columns_every_session_is_plain(manager, transfer_queue):
    episodes = rollout(manager, transfer_queue, tasks())
    assert {row["arm"] for rows in episodes.values() for row in rows} == {PLAIN}


def test_validation_is_plain_and_the_control_shows_the_skill_to_every_session(manager, transfer_queue, tokenizer):
    assert manager.validation_skills is None

    def shown(validation_skills):
        manager.validation_skills = validation_skills
        batch = tasks(validate=True)
        batch["__rollout_n__"] = tu.get_tensordict({"n": np.full(len(TASKS), SESSIONS, dtype=object)})["n"]
        episodes = rollout(manager, transfer_queue, batch, "val")
        manager.validation_skills = None
        ids = {task: set() for task in TASKS}
        for (task, _), rows in episodes.items():
            ids[task] |= {row["skill_id"] for row in rows}
        return ids

    assert shown(None) == {task: {""} for task in TASKS}
    asked = []
    control = lambda ids: asked.extend(ids) or SKILLS  # noqa: E731
    assert shown(control) == {task: {s.skill_id if s else ""} for task, s in zip(TASKS, SKILLS, strict=True)}
    assert asked == list(TASKS)
