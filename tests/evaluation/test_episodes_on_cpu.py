# SPDX-License-Identifier: Apache-2.0
"""Many episodes at once: what each one meets depends on its plan alone."""

from concurrent.futures import Future

import gymnasium
import pytest
from support.toy_policy import READ_THE_NOTE, ToyPolicy

from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import TokenAgent
from siri_verl.evaluation.episodes import EpisodePlayer
from siri_verl.trajectory.episode import EpisodePlan
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings
from siri_verl.trajectory.turn import Status

TASKS = make_environment("toy", split="validation").unwrapped.task_ids()
SKILL = f"When things are to be put away: {READ_THE_NOTE}"


def player(policy, length=1500, **settings):
    prompts = PromptBuilder(policy.tokenizer, PromptSettings(), length)
    settings = {"max_turns": 6, "seed": 3, **settings}
    return EpisodePlayer(TokenAgent(policy, prompts), lambda: make_environment("toy"), **settings)


def plans(skill=None, name="x", tasks=TASKS):
    return [EpisodePlan(task, 5, (name, task), skill) for task in tasks]


def told(episodes):
    return [(e.plan.task_id, e.history, e.success, e.score, e.status, e.category) for e in episodes]


def test_episodes_end_with_what_the_environment_says():
    helped = player(ToyPolicy()).play(plans(SKILL))
    assert all(e.success and e.score == 1.0 and e.status == "terminated" and len(e.turns) == 3 for e in helped)
    assert [e.plan.task_id for e in helped] == TASKS
    assert helped[0].task.startswith("put the ") and helped[0].category == helped[0].plan.task_id.split("-")[-1]
    assert helped[0].turns[0].observation.startswith("you are in the hall") and helped[0].turns[0].action.startswith(
        "go "
    )
    assert all(all(t.valid for t in e.turns) and not e.skill_missing for e in helped)
    alone = player(ToyPolicy()).play(plans())
    assert 0 < sum(e.success for e in alone) < len(alone), "one room in four is right"


@pytest.mark.parametrize("concurrent", [1, 3, 100])
def test_neither_company_nor_the_order_of_answers_changes_an_episode(concurrent):
    alone = told(player(ToyPolicy()).play(plans()))
    assert told(player(ToyPolicy(late=True), concurrent=concurrent).play(plans())) == alone
    assert told(player(ToyPolicy()).play(plans()[::-1]))[::-1] == alone


def test_names_and_run_seed_decide_what_is_drawn():
    first = told(player(ToyPolicy()).play(plans()))
    assert told(player(ToyPolicy()).play(plans(name="y"))) != first
    assert told(player(ToyPolicy(), seed=4).play(plans())) != first
    policy = ToyPolicy()
    player(policy).play(plans())
    seeds = [seed for *_, seed in policy.requests]
    assert len(set(seeds)) == len(seeds), "every request has a seed of its own"


def test_prompts_are_those_of_the_rollouts():
    policy = ToyPolicy()
    player(policy).play(plans(SKILL, tasks=TASKS[:1]))
    assert [name.rsplit("-", 1)[1] for name, *_ in policy.requests] == ["1", "2", "3"]
    last = policy.requests[-1][1]
    assert f"A procedure that has worked on tasks of this kind: {SKILL}" in last
    assert "Turn: 3" in last
    assert "[turn 1] you are in the hall" in last
    assert "[turn 2] you are in the" in last
    player(policy).play(plans(tasks=TASKS[:1]))
    assert not any(READ_THE_NOTE in prompt for _, prompt, _ in policy.requests[3:])


def test_an_episode_is_cut_after_max_turns():
    cut = player(ToyPolicy(), max_turns=2).play(plans(SKILL))
    assert {(e.status, len(e.turns), e.success) for e in cut} == {(Status.TRUNCATED, 2, False)}


def test_a_skill_that_does_not_fit_is_reported_and_left_out():
    policy = ToyPolicy()
    episodes = player(policy, length=700).play(plans(SKILL + " or" * 300))
    assert all(e.skill_missing for e in episodes)
    assert not any(READ_THE_NOTE in prompt for _, prompt, _ in policy.requests)


class Endless(gymnasium.Wrapper):
    """Pages that no prompt can hold, from the second turn on."""

    def step(self, action):
        observation, *rest = self.env.step(action)
        return observation * 100, *rest


def test_a_prompt_that_no_longer_fits_ends_its_episode():
    longer = player(ToyPolicy())
    longer.make_env = lambda: Endless(make_environment("toy"))
    ended = longer.play(plans(SKILL))
    assert {(e.status, len(e.turns), e.success) for e in ended} == {(Status.PROMPT_TOO_LONG, 1, False)}


def test_plans_with_one_name_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        player(ToyPolicy()).play(plans() + plans()[:1])
    with pytest.raises(ValueError, match="concurrent=0"):
        player(ToyPolicy(), concurrent=0)


def test_an_unknown_task_is_named():
    playing = player(ToyPolicy())
    assert playing.play(plans(tasks=["no-such-task"])) == [None]
    assert "no-such-task" in playing.failed.reasons["no-such-task"]


def test_errors_of_the_policy_reach_the_caller():
    class Broken(ToyPolicy):
        def submit(self, name, prompt_ids, seed):
            future = Future()
            future.set_exception(RuntimeError("the engine is closed"))
            return future

    with pytest.raises(RuntimeError, match="engine is closed"):
        player(Broken()).play(plans())
