# SPDX-License-Identifier: Apache-2.0
"""Warm-start rows: three abilities, and no hint of what pays.

act       plain prompts; the procedure of an episode is drawn from the demo's `prior`, whatever the category
follow    the same with a skill block that names the procedure, drawn evenly, right or wrong
describe  a finished trajectory -> (condition, strategy); the procedure is drawn evenly, whatever the outcome

No episode is dropped for its outcome and no row shows one. In acting and following a share `stray` of the turns is
spent on a random admissible action: it is played, while the row is trained on the procedure's action, so that the
rows also cover the states that mistakes lead to.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from siri_verl.demos.warm_start.demo import Demo
from siri_verl.envs.base import TextEnv
from siri_verl.skills.mining_prompt import FULL_MINING, render_mining_prompt
from siri_verl.skills.text import skill_block
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.prompts import render_prompt
from siri_verl.trajectory.turn import Reply, TurnView

ABILITIES = ("act", "follow", "describe")
ANY_CONDITION = 0.3
"""Share of follow rows whose condition names a category drawn at random instead of the task's."""


@dataclass(frozen=True)
class Row:
    """One training row and where it comes from. Only `prompt` and `reply` are shown to the model."""

    kind: str
    prompt: str
    reply: str
    procedure: str
    category: str
    task_id: str
    success: bool
    episode: int = 0
    """Numbers the episodes of a kind."""

    def record(self) -> dict[str, Any]:
        """The row in verl's multi-turn format, with the provenance beside it."""
        messages = [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.reply}]
        return {"messages": messages} | {k: v for k, v in vars(self).items() if k not in ("prompt", "reply")}


@dataclass(frozen=True)
class Demonstration:
    """A procedure played through one episode.

    Attributes:
        episode: the replies are the procedure's, the actions those that were played.
        category: of the task.
        views: of each turn, as the prompt shows it.
    """

    episode: Episode
    category: str
    views: list[TurnView]


def reply_text(think: str, action: str) -> str:
    """A reply in the contract's format."""
    return f"<think> {think} </think> <action> {action} </action>"


def play(
    demo: Demo, env: TextEnv, task_id: str, procedure: str, rng: random.Random, stray: float = 0.0
) -> Demonstration:
    """Follow a procedure through one episode.

    Raises:
        ValueError: the task text names no category of the demo.
    """
    plan = EpisodePlan(task_id, env_seed=rng.randrange(2**31))
    episode = Episode(plan, *env.reset(seed=plan.env_seed, options={"task_id": task_id}))
    category = demo.category_of(episode.task)
    if category is None:
        known = ", ".join(demo.categories)
        raise ValueError(f"task {task_id!r}: {episode.task!r} names no category of the demo ({known})")
    views = []
    while not episode.over:
        view = episode.view().recent(demo.history_length)  # a procedure sees what the prompt shows
        views.append(view)
        think, action = demo.advise(procedure, view)
        choices = demo.strays(view)
        astray = rng.random() < stray and bool(choices)
        taken = rng.choice(choices) if astray else action
        episode.observe(*env.step(episode.reply(Reply(reply_text(think, action)), action=taken)))
    return Demonstration(episode, category, views)


def _acting(demo: Demo, kind: str, played: Demonstration, procedure: str, skill_text: str | None) -> Iterator[Row]:
    episode = played.episode
    for view, turn in zip(played.views, episode.turns, strict=True):
        prompt = render_prompt(replace(view, skill_text=skill_text), demo.template)
        yield Row(kind, prompt, turn.reply, procedure, played.category, episode.plan.task_id, episode.success)


def act_rows(demo: Demo, env: TextEnv, task_id: str, rng: random.Random, stray: float) -> Iterator[Row]:
    """One plain episode."""
    procedure = rng.choices(list(demo.prior), weights=list(demo.prior.values()))[0]
    yield from _acting(demo, "act", play(demo, env, task_id, procedure, rng, stray), procedure, None)


def follow_rows(demo: Demo, env: TextEnv, task_id: str, rng: random.Random, stray: float) -> Iterator[Row]:
    """One episode that follows the skill block of its prompts."""
    procedure = rng.choice(list(demo.strategies))
    played = play(demo, env, task_id, procedure, rng, stray)
    category = rng.choice(list(demo.categories)) if rng.random() < ANY_CONDITION else played.category
    condition = demo.condition(category, rng.choice(demo.conditions))
    skill_text = skill_block(condition, rng.choice(demo.strategies[procedure]))
    yield from _acting(demo, "follow", played, procedure, skill_text)


def describe_row(demo: Demo, env: TextEnv, task_id: str, rng: random.Random) -> Row:
    """One trajectory put into words."""
    procedure = rng.choice(list(demo.strategies))
    played = play(demo, env, task_id, procedure, rng)
    episode = played.episode
    turns = episode.history
    while demo.idle is not None and [action for _, action in turns[-2:]] == [demo.idle] * 2:
        turns.pop()  # once is enough to see that nothing more was done
    prompt = render_mining_prompt(episode.task, turns, demo.mining_template)
    condition = demo.condition(played.category, rng.choice(demo.conditions))
    between = "\n" if demo.mining_template is FULL_MINING else " "
    reply = f"condition: {condition}{between}strategy: {rng.choice(demo.strategies[procedure])}"
    return Row("describe", prompt, reply, procedure, played.category, task_id, episode.success)


def make_rows(
    demo: Demo,
    env: TextEnv,
    task_ids: Sequence[str],
    episodes: Mapping[str, int],
    *,
    seed: int = 0,
    stray: float = 0.05,
) -> list[Row]:
    """Rows of all three abilities, shuffled.

    Args:
        demo: whose.
        env: its environment, in the text mode of its prompts.
        task_ids: of the warm-start panel.
        episodes: how many of "act", "follow" and "describe".
        seed: decides every draw.
        stray: share of turns spent on a random action.

    Raises:
        ValueError: an unknown ability, or no tasks.
    """
    unknown = set(episodes) - set(ABILITIES)
    if unknown or not task_ids:
        raise ValueError(f"episodes: {sorted(unknown)} unknown" if unknown else "task_ids: there are none")
    rng = random.Random(f"rows:{seed}")
    rows: list[Row] = []
    for kind, make in (("act", act_rows), ("follow", follow_rows)):
        for number in range(episodes.get(kind, 0)):
            made = make(demo, env, rng.choice(task_ids), rng, stray)
            rows += [replace(row, episode=number) for row in made if rng.random() < demo.kept(row.prompt)]
    rows += [
        replace(describe_row(demo, env, rng.choice(task_ids), rng), episode=number)
        for number in range(episodes.get("describe", 0))
    ]
    rng.shuffle(rows)
    return rows
