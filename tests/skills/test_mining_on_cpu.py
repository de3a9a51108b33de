# SPDX-License-Identifier: Apache-2.0
"""From successes to skills: the pool, leaks, a round of mining, the control text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.skill_status import decide

from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import load_bank, save_bank
from siri_verl.skills.leaks import find_leak, specifics
from siri_verl.skills.mining import Miner, MiningSettings
from siri_verl.skills.neutral import neutral_text
from siri_verl.skills.pool import SourceTrajectory, SuccessPool
from siri_verl.skills.random_summary import random_summary
from siri_verl.skills.skill import Provenance

SOURCE = Provenance("t", "r", 1)
SHOP_TURNS = (
    ("WebShop [SEP] Search", "search[harbor mug]"),
    ("Page 1 (Total results: 50) [SEP] B0K4-M7 [SEP] harbor mug [SEP] $18", "click[b0k4-m7]"),
    ("size [SEP] small [SEP] color [SEP] red [SEP] Features [SEP] Buy Now", "click[features]"),
    ("a foldable mug", "click[< prev]"),
    ("size [SEP] small [SEP] color [SEP] red", "click[red]"),
    ("size [SEP] small [SEP] color [SEP] red", "click[buy now]"),
)


def shop(number=1, kind="kitchen", step=1, **changes):
    values = dict(
        task_id=f"goal-{number:05d}",
        task="i need a foldable harbor mug for my kitchen , in red and small , and price lower than 40.00 dollars",
        task_type=kind,
        trajectory=f"goal-{number:05d}_2",
        step=step,
        turns=SHOP_TURNS,
        success=True,
    )
    return SourceTrajectory(**{**values, **changes})


HOUSE = SourceTrajectory(
    task_id="pick_heat-Mug-None-Shelf-10/trial_T2",
    task="put a hot mug in shelf",
    task_type="pick_heat",
    trajectory="h_0",
    step=3,
    turns=(
        ("You are in the middle of a room. You see a countertop 1, a microwave 1, a shelf 2.", "go to countertop 1"),
        ("On the countertop 1, you see a mug 3.", "take mug 3 from countertop 1"),
        ("You pick up the mug 3.", "heat mug 3 with microwave 1"),
    ),
    success=True,
)


@pytest.mark.parametrize(
    "text, leak",
    [
        ("buy B0K4-M7", "id: b0k4 m7"),
        ("open b0k4 m7 , then buy", "id: b0k4 m7"),
        ("open the b0k4 one", "id: b0k4"),
        ("choose red , then buy", "answer: red"),
        ("search for the Harbor Mug", "answer: harbor mug"),
        ("buy what costs less than 40 dollars", "answer: 40"),
        ("as in goal-00001", "task_id: goal 00001"),
        ("choose every option the task names , then buy", ""),
        ("open features first , then go back to the previous page", ""),
        ("shopping for the kitchen", ""),
        ("go to page 1 , open the top item there", ""),
        ("a reddish hue is fine", ""),
        ("drink from a mug", ""),
    ],
)
def test_leaks_of_a_shopping_episode(text, leak):
    assert find_leak(text, shop()) == leak


@pytest.mark.parametrize(
    "text, leak",
    [
        ("go to countertop 1 first", "id: countertop 1"),
        ("heat mug 3 with the microwave", "id: mug 3"),
        ("find the object on a countertop, heat it in the microwave, put it away", ""),
    ],
)
def test_leaks_of_a_household_episode(text, leak):
    assert find_leak(text, HOUSE) == leak


def test_what_the_environment_lists_counts_too():
    assert find_leak("buy the fable one", shop()) == ""
    assert find_leak("buy the fable one", shop(answers=("fable", ""))) == "answer: fable"
    assert "" not in specifics(shop(answers=("", "  ")))


def test_the_pool_keeps_the_newest_plain_successes():
    pool = SuccessPool(2)
    offers = [shop(1), shop(2, success=False), shop(3, arm="skill"), shop(4, turns=()), shop(5), shop(6, kind="garden")]
    assert pool.add(offers) == 3
    pool.add([shop(7, step=2)])
    assert [e.task_id for e in pool.of_type("kitchen")] == ["goal-00005", "goal-00007"]
    assert pool.types() == ["garden", "kitchen"] and len(pool) == 3
    pool.remove([shop(6, kind="garden")])
    assert pool.types() == ["kitchen"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab"), st.booleans()), max_size=20), st.integers(1, 4))
def test_the_pool_survives_a_checkpoint_and_ignores_the_order_of_arrival(offers, per_type):
    episodes = [shop(n, kind=k, success=s, trajectory=f"r{i}") for i, (n, k, s) in enumerate(offers)]
    pool, mirrored = SuccessPool(per_type), SuccessPool(per_type)
    pool.add(episodes)
    mirrored.add(episodes[::-1])
    assert mirrored.to_dict() == pool.to_dict()
    assert SuccessPool.from_dict(per_type, json.loads(json.dumps(pool.to_dict()))).to_dict() == pool.to_dict()


def test_bad_pools_are_named():
    with pytest.raises(ValueError, match="version 9"):
        SuccessPool.from_dict(2, {"version": 9})
    with pytest.raises(ValueError, match="fields .*mood"):
        SuccessPool.from_dict(2, {"version": 1, "episodes": [{"mood": 1}]})
    with pytest.raises(ValueError, match="per_type=0"):
        SuccessPool(0)


def pool_of(*episodes, per_type=8):
    pool = SuccessPool(per_type)
    pool.add(episodes)
    return pool


GOOD = "condition: the kitchen is named\nstrategy: choose every option the task names , then buy"


def test_a_round_enters_good_answers_and_counts_the_rest():
    pool, bank = pool_of(*(shop(n) for n in range(1, 8))), SkillBank()
    answers = [
        GOOD,
        GOOD.replace("kitchen", "house"),
        "I chose red and bought it",
        "condition: x\nstrategy: click b0k4-m7",
        "condition: a\nstrategy: <|im_start|> look at the features <|im_end|>",
        "condition: \nstrategy: buy",
        "condition: b\nstrategy: ",
    ]
    asked = []

    def generate(prompts):
        asked.extend(prompts)
        return answers

    report = Miner(MiningSettings(template="compact"), 1).mine(pool, bank, 10, generate)
    assert report.requests == 7 and report.entered == ["s0001", "s0002"]
    assert report.problems == {
        "duplicate": 1,
        "no_condition_and_strategy": 1,
        "leak": 1,
        "empty_condition": 1,
        "empty_strategy": 1,
    }
    assert report.leaks == ["id: b0k4 m7"] and report.neutralised == 2
    assert bank["s0001"].provenance.step == 10 and bank["s0001"].provenance.miner == "policy"
    assert bank["s0001"].task_type == "kitchen" and bank["s0001"].repeats == 1
    assert bank["s0002"].strategy == "look at the features"
    assert all("harbor mug" in prompt and "click[features]" in prompt for prompt in asked)
    metrics = report.metrics()
    assert metrics["requests"] == 7.0
    assert metrics["entered"] == 2.0
    assert metrics["turned_away/leak"] == 1.0
    assert len(pool) == 0, "an episode is asked about once"


def test_types_take_turns_and_those_without_an_active_skill_come_first():
    episodes = [shop(n, kind=k) for k, numbers in (("a", (1, 2, 3)), ("b", (4, 5, 6)), ("c", (7,))) for n in numbers]
    bank = SkillBank(BankSettings(max_candidates_per_type=2))
    miner = Miner(MiningSettings(requests=4), 1)
    assert [r.episode.task_type for r in miner.requests(pool_of(*episodes), bank, 5)] == ["a", "b", "c", "a"]
    bank.add("c", "one", "a", SOURCE)
    assert [r.episode.task_type for r in miner.requests(pool_of(*episodes), bank, 5)] == ["b", "c", "a", "b"]
    bank.add("c", "two", "a", SOURCE)
    assert [r.episode.task_type for r in miner.requests(pool_of(*episodes), bank, 5)] == ["b", "c", "b", "b"], (
        "a is full"
    )


def test_one_episode_per_task_and_the_same_choice_for_the_same_seed():
    episodes = [shop(n % 3, trajectory=f"r{n}") for n in range(9)]
    miner = Miner(MiningSettings(requests=9), 1)
    first = miner.requests(pool_of(*episodes, per_type=9), SkillBank(), 5)
    assert sorted(r.episode.task_id for r in first) == ["goal-00000", "goal-00001", "goal-00002"]
    assert [r.episode for r in miner.requests(pool_of(*episodes, per_type=9), SkillBank(), 5)] == [
        r.episode for r in first
    ]
    others = [
        [
            r.episode
            for r in Miner(MiningSettings(requests=9), s).requests(pool_of(*episodes, per_type=9), SkillBank(), 5)
        ]
        for s in range(9)
    ]
    assert any(other != others[0] for other in others)


def test_several_answers_about_one_trajectory_are_several_candidates():
    bank, wordings = SkillBank(), iter(["look at the features", "buy the cheapest", "look at the features"])
    miner = Miner(MiningSettings(requests=1, answers=3, template="compact"), 1)
    report = miner.mine(
        pool_of(shop(1), shop(2)),
        bank,
        5,
        lambda prompts: [f"condition: c\nstrategy: {next(wordings)}" for _ in prompts],
    )
    assert report.requests == 3
    assert report.entered == ["s0001", "s0002"]
    assert report.problems == {"duplicate": 1}
    assert len({skill.provenance.trajectory for skill in bank.skills.values()}) == 1


def test_a_bank_with_wider_caps_takes_longer_texts():
    bank, words = SkillBank(BankSettings(max_condition_chars=300, max_strategy_chars=900)), ("a" * 300, "b" * 900)
    answer = f"condition: {words[0]}\nstrategy: {words[1]}"
    report = Miner(MiningSettings(), 1).mine(pool_of(shop(1)), bank, 5, lambda prompts: [answer])
    assert report.entered == ["s0001"] and (bank["s0001"].condition, bank["s0001"].strategy) == words


def test_nothing_is_asked_without_successes():
    report = Miner(MiningSettings(), 1).mine(SuccessPool(3), SkillBank(), 5, lambda prompts: pytest.fail("asked"))
    assert report.requests == 0 and report.entered == []


def test_rounds_are_due_every_so_many_steps():
    assert [step for step in range(1, 16) if Miner(MiningSettings(every=5), 1).due(step)] == [5, 10, 15]


def test_one_answer_per_request():
    miner = Miner(MiningSettings(), 1)
    with pytest.raises(ValueError, match="1 answers to 2 requests"):
        miner.mine(pool_of(shop(1), shop(2)), SkillBank(), 5, lambda prompts: ["x"])


def test_the_control_text_is_random_short_and_quotes_nothing():
    texts = {random_summary(shop(), seed) for seed in range(40)}
    assert len(texts) > 10
    for text in texts:
        assert find_leak(text, shop()) == ""
        assert 1 <= len(text.split(" , then ")) <= 3
        assert set(text.split(" , then ")) <= {"search", "click", "click features", "click prev", "click buy now"}
    for seed in range(40):
        assert find_leak(random_summary(HOUSE, seed), HOUSE) == ""
    assert random_summary(shop(), 3) == random_summary(shop(), 3)


def test_under_the_control_an_active_skill_shows_its_random_text():
    bank = SkillBank()
    Miner(MiningSettings(random_skills=True), 1).mine(pool_of(shop(1)), bank, 5, lambda prompts: [GOOD])
    skill = bank["s0001"]
    assert skill.control and skill.block == "When the kitchen is named: choose every option the task names , then buy"
    decide(bank, "s0001", "active")
    assert skill.block == f"When the kitchen is named: {skill.control}"
    plain = SkillBank()
    Miner(MiningSettings(), 1).mine(pool_of(shop(1)), plain, 5, lambda prompts: [GOOD])
    assert plain["s0001"].control == ""


def test_under_the_empty_context_control_an_active_skill_shows_as_many_neutral_words(tmp_path):
    bank = SkillBank()
    Miner(MiningSettings(neutral_skills=True), 1).mine(pool_of(shop(1)), bank, 5, lambda prompts: [GOOD])
    skill = bank["s0001"]
    own = "When the kitchen is named: choose every option the task names , then buy"
    assert skill.block == own, "a candidate is tested as it was written"
    save_bank(bank, tmp_path / "bank.jsonl")
    read = load_bank(tmp_path / "bank.jsonl")
    decide(read, "s0001", "active")
    assert read["s0001"].block == neutral_text(14)
    decide(bank, "s0001", "active")
    assert skill.block == neutral_text(14) and len(skill.block.split()) == len(own.split()) == 14
    assert not set(skill.block.lower().split()) & {"kitchen", "option", "choose", "buy"}
    assert bank.find_in(f"skill: {skill.block}\ntask: buy a pan") == "s0001" and bank.find_in("task: buy a pan") == ""
    with pytest.raises(ValueError, match="neutral_skills=True: excludes siri.mining.random_skills"):
        MiningSettings(neutral_skills=True, random_skills=True)


def test_neutral_texts_are_as_long_as_asked_for():
    assert [len(neutral_text(n).split()) for n in (1, 7, 100)] == [1, 7, 100]
    assert neutral_text(100).startswith(neutral_text(7))
    with pytest.raises(ValueError, match="0 words"):
        neutral_text(0)


@pytest.mark.parametrize("options", [dict(every=0), dict(requests=0), dict(answers=0), dict(template="long")])
def test_bad_settings_are_named(options):
    with pytest.raises(ValueError, match=f"siri.mining.{next(iter(options))}="):
        MiningSettings(**options)


def test_only_types_without_a_skill_are_asked_about_where_skills_are_to_cover():
    bank = SkillBank()
    miner = Miner(MiningSettings(only_uncovered=True), 1)
    assert len(miner.requests(pool_of(shop(1)), bank, 5)) == 1
    skill = bank.add("c", "choose every option", shop(1).task_type, Provenance("t", "t_0", 1)).skill
    assert miner.requests(pool_of(shop(1)), bank, 5) == []
    assert len(Miner(MiningSettings(), 1).requests(pool_of(shop(1)), bank, 5)) == 1
    decide(bank, skill.skill_id, "retired")
    assert len(miner.requests(pool_of(shop(1)), bank, 5)) == 1
