# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.trajectory.prompts import COMPACT, FULL, PromptTemplate, render_prompt
from siri_verl.trajectory.turn import TurnView

VIEW = TurnView(
    task="find a red lamp",
    observation="Search",
    admissible_actions=("search[<your query>]", "click[back]"),
    turn=3,
    history=(("page one", "click[a]"), ("page two", "click[b]")),
    skill_text="When asked for a lamp, open its features first.",
)
TEXT = st.text(max_size=60)


@pytest.mark.parametrize("template", [FULL, COMPACT])
def test_plain_twin_is_the_prompt_without_its_skill_section(template):
    with_skill, plain = render_prompt(VIEW, template), render_prompt(VIEW.plain, template)
    section = f"{template.skill}: {VIEW.skill_text}{template.separator}"
    assert with_skill.count(section) == 1
    assert with_skill.replace(section, "") == plain
    assert VIEW.skill_text not in plain


def test_sections_hold_task_turn_history_observation_and_actions():
    text = render_prompt(VIEW, FULL)
    positions = [
        text.index(part) for part in (VIEW.task, "Turn: 3", "[turn 1] page one", "[turn 2] page two", "Search")
    ]
    assert positions == sorted(positions)
    assert "click[back]" in text and "<action>" in text
    assert "page one" not in render_prompt(VIEW, COMPACT)


@given(TEXT, TEXT, TEXT)
def test_text_is_never_formatted(task, observation, skill):
    # Braces, percent signs and template syntax come out as they went in.
    view = TurnView(task=task + "{x}%s", observation=observation + "{{y}}", skill_text=skill + "${z}")
    text = render_prompt(view, FULL)
    assert task + "{x}%s" in text
    assert observation + "{{y}}" in text
    assert skill + "${z}" in text


def test_template_without_skill_section_refuses_a_skill():
    with pytest.raises(ValueError, match="skill"):
        render_prompt(VIEW, replace(FULL, skill=None))


def test_template_needs_task_and_observation():
    with pytest.raises(ValueError, match="'task'"):
        PromptTemplate(task=None)
