# SPDX-License-Identifier: Apache-2.0
"""Near misses: what a type without a success is mined from."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.skills.bank import SkillBank
from siri_verl.skills.mining import Miner, MiningSettings
from siri_verl.skills.mining_prompt import FULL_MINING
from siri_verl.skills.pool import SourceTrajectory, SuccessPool

ANSWER = "condition: a thing is wanted\nstrategy: read the features first"
OFFERS = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from("ab"), st.integers(0, 4), st.sampled_from(["plain", "skill"])),
    max_size=20,
)


def attempt(number, kind="kitchen", success=False, arm="plain", step=1):
    turns = (("Search", "search[x]"), ("page", "click[buy]"))
    return SourceTrajectory(f"t{number}", "a mug", kind, f"{step}/t{number}/0", step, turns, success, arm)


def pool_of(*attempts, scores=None, near_misses=True, per_type=2):
    pool = SuccessPool(per_type, near_misses)
    pool.add(attempts, scores or {t.trajectory: t.step / 10 for t in attempts})
    return pool


def test_the_attempts_of_the_highest_score_stay():
    pool = pool_of(*(attempt(k, step=k) for k in (3, 1, 4, 2)), attempt(9, arm="skill", step=9))
    assert [t.task_id for t in pool.of_type("kitchen")] == ["t3", "t4"] and len(pool) == 2
    assert pool.types() == ["kitchen"]
    assert not pool_of(attempt(1), near_misses=False).types()
    assert not pool_of(attempt(1), scores={"1/t1/0": 0.0}).types(), "a score of 0 is no near miss"


def test_a_success_of_the_type_ends_them_for_good():
    pool = pool_of(attempt(1), attempt(2, "bath"))
    pool.add([attempt(3, success=True)], {})
    assert [t.task_id for t in pool.of_type("kitchen")] == ["t3"] and pool.types() == ["bath", "kitchen"]
    pool.remove(pool.of_type("kitchen"))
    pool.add([attempt(4)], {"1/t4/0": 0.9})
    assert pool.types() == ["bath"]


@settings(max_examples=100, deadline=None)
@given(OFFERS, OFFERS, st.integers(1, 3))
def test_a_checkpoint_keeps_them_and_a_success_excludes_them(first, then, per_type):
    def offer(pool, offers, base):
        attempts = [attempt(base + n, kind, score == 4, arm, step) for n, (step, kind, score, arm) in enumerate(offers)]
        pool.add(attempts, {t.trajectory: o[2] / 4 for t, o in zip(attempts, offers, strict=True)})

    pool = SuccessPool(per_type, near_misses=True)
    offer(pool, first, 0)
    resumed = SuccessPool.from_dict(per_type, json.loads(json.dumps(pool.to_dict())), near_misses=True)
    for one in (pool, resumed):
        offer(one, then, 100)
    assert resumed.to_dict() == pool.to_dict()
    for kind in "ab":
        solved = any(k == kind and score == 4 and arm == "plain" for _, k, score, arm in (*first, *then))
        assert {t.success for t in pool.of_type(kind)} <= {solved}
        assert len(pool.of_type(kind)) <= per_type


def test_without_the_setting_a_checkpoint_is_as_before():
    assert set(SuccessPool(3).to_dict()) == {"version", "episodes"}
    old = SuccessPool(3).to_dict()
    assert SuccessPool.from_dict(3, old, near_misses=True).types() == []


def test_the_prompt_does_not_call_a_near_miss_solved():
    asked = []

    def generate(prompts):
        asked.extend(prompts)
        return [ANSWER] * len(prompts)

    pool = pool_of(attempt(1), attempt(2, "bath", success=True))
    report = Miner(MiningSettings(near_misses=True, requests=4), 1).mine(pool, SkillBank(), 5, generate)
    assert len(report.entered) == 2 and len(pool) == 0
    solved = [FULL_MINING.opening in prompt for prompt in asked]
    assert sorted(solved) == [False, True]
    near = asked[solved.index(False)]
    assert near.startswith(FULL_MINING.near_miss.opening) and "success" not in near
