# SPDX-License-Identifier: Apache-2.0
"""The plan of a step's groups. That it measures the sessions' own first prompt is tested beside the agent loop
(tests/trajectory/test_skill_prompts_on_cpu.py)."""

from support.tiny_model import make_tokenizer

from siri_verl.core.seeding import derive_seed
from siri_verl.envs.toy import ToyEnv
from siri_verl.skills.skill import Provenance, Skill
from siri_verl.skills.task_type import TaskTypeSettings, task_typer
from siri_verl.training.planner import GroupPlanner
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings

TASKS = ["toy-coin-shelf-kitchen", "toy-lamp-box-attic", "toy-book-table-garden"]
TYPES = TaskTypeSettings(kind="regex", table={"coin": "coin", "lamp": "lamp"})


def skill(strategy, number=1):
    return Skill(f"s{number:04d}", "a note names the room", strategy, "all", Provenance("", "", 0, "hand"))


class SeedNoting(ToyEnv):
    """The toy game, which also keeps the seeds it was reset with."""

    def __init__(self):
        super().__init__()
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)

    def step(self, action):
        raise AssertionError("the planner never steps")


def planner(limit=2000, seed=7):
    prompts = PromptBuilder(make_tokenizer(), PromptSettings(), limit)
    return GroupPlanner(SeedNoting(), prompts, task_typer(TYPES), seed)


def test_the_chosen_skill_and_the_type_come_from_the_task_text():
    asked, shown = [], {"coin": skill("take it"), "lamp": None, "other": skill("look", 2)}

    def choose(task_type, task_id):
        asked.append((task_type, task_id))
        return shown[task_type]

    groups = planner().plan(TASKS, 3, choose)
    assert asked == list(zip(["coin", "lamp", "other"], TASKS, strict=True))
    assert [(g.task_id, g.task_type, g.skill, g.skill_missing) for g in groups] == [
        (task, kind, shown[kind], "") for kind, task in asked
    ]


def test_what_a_task_comes_down_to_is_kept_where_the_environment_says_it():
    class Telling(ToyEnv):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "answers": [info["task_id"].split("-")[-1], 7]}

    made = planner()
    assert made.plan(TASKS[:1], 1, lambda *_: None)[0].answers == ()
    made.env = Telling()
    groups = made.plan(TASKS, 1, iter_of(None, skill("go"), skill("go " * 3000)))
    assert [bool(g.skill) for g in groups] == [False, True, False] and groups[2].skill_missing
    assert [g.answers for g in groups] == [("kitchen", "7"), ("attic", "7"), ("garden", "7")]


def test_seeds_are_those_of_the_sessions():
    one = planner()
    one.plan(TASKS, 3, lambda *_: None)
    one.plan(TASKS[:1], 4, lambda *_: None)
    # the name the agent loop derives a training episode's environment seed by
    assert one.env.seeds == [derive_seed(7, "env", 3, task) for task in TASKS] + [derive_seed(7, "env", 4, TASKS[0])]


def test_a_block_that_does_not_fit_the_first_prompt_makes_its_group_plain_and_is_named():
    short, long = skill("go"), skill("go " * 100, 2)
    wide = planner()
    limit = len(wide.prompts.tokens(wide.prompts.build(view_of(wide, TASKS[0], short)).view))
    tight = planner(limit)
    groups = tight.plan([TASKS[0]] * 2, 1, iter_of(short, long))
    assert groups[0].skill is short and not groups[0].skill_missing
    assert groups[1].skill is None and groups[1].skill_missing == "s0002"
    assert wide.plan([TASKS[0]], 1, lambda *_: long)[0].skill is long
    # one token less and the short one does not fit either
    assert planner(limit - 1).plan([TASKS[0]], 1, lambda *_: short)[0].skill_missing == "s0001"


def iter_of(*skills):
    left = iter(skills)
    return lambda *_: next(left)


def view_of(made, task_id, shown):
    from siri_verl.trajectory.turn import TurnView

    observation, info = made.env.reset(seed=0, options={"task_id": task_id})
    actions = tuple(info["admissible_actions"])
    return TurnView(task=info["task"], observation=observation, admissible_actions=actions, skill_text=shown.block)


def test_a_task_that_cannot_be_started_is_plain_and_keeps_the_reason():
    first, failed = planner().plan([TASKS[0], "toy-none"], 1, lambda *_: None)
    assert not first.failed
    assert failed.skill is None and failed.failed.startswith("UnknownTaskError: ") and "toy-none" in failed.failed
