# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.skills.bank import BankSettings
from siri_verl.skills.mining_prompt import (
    COMPACT_MINING,
    FULL_MINING,
    MiningTemplate,
    parse_mined_skill,
    render_mining_prompt,
)
from siri_verl.skills.text import skill_block

TEXT = st.text(alphabet="abc ,\n", min_size=1, max_size=80).filter(lambda t: t.strip())


def test_a_block_names_condition_and_strategy_on_one_line():
    assert skill_block(" the lamp\nis off ", "turn it on") == "When the lamp is off: turn it on"
    with pytest.raises(ValueError, match="strategy is empty"):
        skill_block("x", " \n")


def test_prompt_shows_task_and_every_turn_in_order():
    prompt = render_mining_prompt("buy a mug", [("search page", "search[mug]"), ("item\n$3.0 mug", "click[buy now]")])
    assert prompt.split("\n") == [
        "describe",
        "task: buy a mug",
        "1: search page -> search[mug]",
        "2: item $3.0 mug -> click[buy now]",
    ]
    full = render_mining_prompt("t", [("o", "a")], FULL_MINING)
    assert full.endswith(FULL_MINING.closing) and full.startswith(FULL_MINING.opening)


@given(st.lists(st.tuples(st.text(alphabet="ab \n", max_size=400), TEXT), min_size=1, max_size=30))
def test_prompt_is_bounded_and_keeps_the_first_and_last_action(turns):
    template = MiningTemplate("describe", None, 120, 900)
    body = render_mining_prompt("t", turns, template).split("\n", 2)[2]
    assert len(body) <= 900 or body.count("\n") == 0
    first, last = (" ".join(turns[k][1].split()) for k in (0, -1))
    assert body.split("\n")[0].endswith(f"-> {first}") and body.endswith(f"-> {last}")


def test_long_observations_are_cut_between_words():
    prompt = render_mining_prompt("t", [("word " * 100, "a")], COMPACT_MINING)
    shown = prompt.split("1: ")[1].split(" -> ")[0]
    assert len(shown) <= COMPACT_MINING.max_observation_chars and set(shown.split()) == {"word"}


def test_empty_trajectories_and_wrong_templates_are_refused():
    with pytest.raises(ValueError, match="no turns"):
        render_mining_prompt("t", [])
    with pytest.raises(ValueError, match="max_chars is 0"):
        MiningTemplate("x", None, 10, 0)


@given(TEXT, TEXT)
def test_what_is_written_in_the_format_is_read_back(condition, strategy):
    skill = parse_mined_skill(f"<think> hm </think> Condition: {condition}\nSTRATEGY: {strategy}")
    assert skill.problem is None
    assert (skill.condition, skill.strategy) == (" ".join(condition.split()), " ".join(strategy.split()))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("buy the first", "no_condition_and_strategy"),
        ("strategy: b condition: a", "no_condition_and_strategy"),
        ("sure! condition: a strategy: b", "no_condition_and_strategy"),
        ("condition: a strategy: b strategy: c", "repeated_label"),
        ("condition: strategy: b", "empty_condition"),
        ("condition: a strategy:", "empty_strategy"),
        ("condition: a strategy: " + "b" * 601, "strategy_too_long"),
    ],
)
def test_malformed_answers_are_named(text, problem):
    skill = parse_mined_skill(text)
    assert skill.problem == problem
    assert not skill.condition
    assert not skill.strategy


@pytest.mark.parametrize("condition, strategy", [(5, 7), (300, 900)])
def test_the_caps_are_those_of_the_bank(condition, strategy):
    caps = BankSettings(max_condition_chars=condition, max_strategy_chars=strategy)

    def answer(more=0, again=0):
        return f"condition: {'c' * (condition + more)}\nstrategy: {'s' * (strategy + again)}"

    assert parse_mined_skill(answer(), caps).problem is None
    assert parse_mined_skill(answer(1), caps).problem == "condition_too_long"
    assert parse_mined_skill(answer(0, 1), caps).problem == "strategy_too_long"


@pytest.mark.parametrize(
    "thought", ["", "<think>hm</think>", "what worked?\n</think>\n", "<think>condition: x strategy: y</think>"]
)
def test_a_thought_whose_tag_stands_in_the_prompt(thought):
    skill = parse_mined_skill(f"{thought}condition: a\nstrategy: b")
    assert (skill.condition, skill.strategy, skill.problem) == ("a", "b", None)


@pytest.mark.parametrize(
    "text",
    [
        "**Condition:** when a\n**Strategy:** do b",
        "**Condition**: when a\n\n**Strategy**: do b",
        "- Condition: when a\n- Strategy: do b",
        "1. **Condition:** when a\n2. **Strategy:** do b",
        "### Condition:\nwhen a\n### Strategy:\ndo b",
        "```\ncondition: when a\nstrategy: do b\n```",
        "Here is the skill:\n\n```text\ncondition: when a\nstrategy: do b\n```\n",
        "Sure, this is the procedure.\ncondition: when a\nstrategy: do b",
        "so\n</think>\nHere it is:\n\n**Condition:** when a\n**Strategy:** do b",
    ],
)
def test_forms_that_instruction_tuned_models_use(text):
    skill = parse_mined_skill(text)
    assert (skill.condition, skill.strategy, skill.problem) == ("when a", "do b", None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("One.\nTwo.\ncondition: a\nstrategy: b", "no_condition_and_strategy"),
        ("```\ncondition: a\nstrategy: b\n```\nOr else go home.", "no_condition_and_strategy"),
        ("```\ncondition: a\nstrategy: b\n```\n```\ncondition: c\nstrategy: d\n```", "no_condition_and_strategy"),
        ("- condition: a\n- strategy: b\n- condition: c\n- strategy: d", "repeated_label"),
        ("strategy: x\ncondition: a\nstrategy: b", "no_condition_and_strategy"),
    ],
)
def test_answers_of_which_the_content_is_ambiguous(text, problem):
    assert parse_mined_skill(text).problem == problem
