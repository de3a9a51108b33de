# SPDX-License-Identifier: Apache-2.0
"""Episodes that are shown a skill, in the real agent loop: as the planner measured them, and when room runs out."""

import pytest
from support.scripted_policy import actions, settings

from siri_verl.envs.registry import make_environment
from siri_verl.settings.read import siri_settings
from siri_verl.skills.skill import Provenance, Skill
from siri_verl.training.planner import GroupPlanner
from siri_verl.trajectory.prompt_builder import PromptBuilder

ENV = "support.corridor_env:siri_verl_tests/Corridor-v0"
SKILL = Skill("s0001", "a door stands open", "walk through every open door and then stop", "all", Provenance("", "", 0))
SHOWN = {"arm": "skill", "skill_id": "s0001", "skill_text": SKILL.block}


@pytest.fixture(scope="module")
def walk(play):
    def run(script, episodes, **overrides):
        return play(script, episodes, **{"siri__environment__name": ENV, "data__max_prompt_length": 4000, **overrides})

    return run


class Recorder(PromptBuilder):
    """A prompt builder that keeps what it built."""

    def build(self, view):
        self.built = super().build(view)
        return self.built


@pytest.mark.parametrize(("step", "task_id"), [(5, "long"), (6, "long"), (5, "longer")])
def test_the_planner_measures_the_first_prompt_of_the_sessions(walk, tokenizer, step, task_id):
    config = siri_settings(settings(siri__environment__name=ENV))
    recorder = Recorder(tokenizer, config.prompt, 4000)
    planner = GroupPlanner(make_environment(ENV), recorder, lambda text: "all", config.seed)
    (group,) = planner.plan([task_id], step, lambda task_type, task: SKILL)
    episodes = [{"task_id": task_id, "global_steps": step, "session_id": i, "uid": str(i), **SHOWN} for i in (0, 1)]
    found, _ = walk(actions("stop"), episodes)
    # the corridor's observation names its seed and its process
    prompts = [tokenizer.decode(rows[0].prompt_ids).split("seed")[1] for rows in found]
    assert group.skill is SKILL
    assert prompts == [tokenizer.decode(recorder.built.token_ids).split("seed")[1]] * 2


def test_a_skill_row_shows_the_skill_and_its_twin_does_not(walk, tokenizer):
    script = actions("walk", "walk", "stop")
    both = [{"task_id": "long", "session_id": i, "uid": str(i), **(SHOWN if i else {})} for i in (0, 1)]
    (plain, shown), _ = walk(script, both)
    for turn, (row, twin) in enumerate(zip(shown, plain, strict=True)):
        text = tokenizer.decode(row.prompt_ids)
        assert SKILL.block in text
        assert row.extra_fields["arm"] == "skill"
        assert row.extra_fields["skill_id"] == "s0001"
        # same seed and actions, so the plain arm's own prompt is the twin, history included
        assert row.extra_fields["plain_prompt_ids"] == twin.prompt_ids
        section = f"A procedure that has worked on tasks of this kind: {SKILL.block}\n\n"
        assert text.replace(section, "") == tokenizer.decode(twin.prompt_ids), turn
        assert SKILL.block not in tokenizer.decode(twin.prompt_ids)
        start, end = row.extra_fields["span_start"], row.extra_fields["span_end"]
        assert tokenizer.decode(row.response_ids[start:end]) == f"<action>{('walk', 'walk', 'stop')[turn]}</action>"


def test_a_plain_turn_states_its_prompt_with_the_skill_where_that_is_asked_for(walk):
    script = actions("walk", "walk", "stop")
    asked = {"session_id": 0, "uid": "0", "teacher_skill_text": SKILL.block}
    (plain, shown, other), _ = walk(
        script,
        [
            {"task_id": "long", **asked},
            {"task_id": "long", "session_id": 1, "uid": "1", **SHOWN},
            {"task_id": "long", "session_id": 2, "uid": "2"},
        ],
    )
    assert len(plain) == 3
    for row, twin, unasked in zip(plain, shown, other, strict=True):
        assert row.extra_fields["skill_prompt_ids"] == twin.prompt_ids != row.prompt_ids == unasked.prompt_ids
        assert "skill_prompt_ids" not in unasked.extra_fields and row.extra_fields["arm"] == "plain"
    longest = max(len(row.prompt_ids) for row in plain)
    (tight,), _ = walk(script, [{"task_id": "long", **asked}], data__max_prompt_length=longest)
    scored = [row.extra_fields.get("skill_prompt_ids") for row in tight]
    assert all(prompt is None or len(prompt) <= longest for prompt in scored)
    assert scored[max(range(len(tight)), key=lambda k: len(tight[k].prompt_ids))] is None, "the block does not fit"


def test_history_goes_before_the_skill_and_a_block_that_still_does_not_fit_is_named_on_every_row(walk):
    script = actions(*["walk"] * 3, "stop")
    (free,), _ = walk(script, [{"task_id": "long", **SHOWN}], siri__prompt__history_length=0)
    lengths = [len(row.prompt_ids) for row in free]
    # room for the skill without history up to the second turn, and for the plain prompt of every turn
    limit = lengths[1]
    assert max(len(row.extra_fields["plain_prompt_ids"]) for row in free) <= limit < lengths[2]
    (rows,), _ = walk(
        script, [{"task_id": "long", **SHOWN}], siri__prompt__history_length=2, data__max_prompt_length=limit
    )
    seen = [row.extra_fields["plain_prompt_ids"] is not None for row in rows]
    assert seen == [True, True, False, False] and rows[1].extra_fields["history_dropped"] == 1
    assert [row.extra_fields["skill_missing"] for row in rows] == [True] * 4
    assert [row.extra_fields["skill_missing"] for row in free] == [False] * 4
    assert [row.extra_fields["status"] for row in rows] == ["terminated"] * 4, "the episode goes on, plainly"
