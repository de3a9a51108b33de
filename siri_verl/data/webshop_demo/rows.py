# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Warm-start rows: three abilities, and no hint of what pays.

act       plain prompts; the procedure of an episode is drawn from `PRIOR`, whatever the department
follow    the same with a skill block that names the procedure, drawn evenly, right or wrong
describe  a finished trajectory -> (condition, strategy); the procedure is drawn evenly, the outcome is not looked at

No episode is dropped for its outcome and no row shows one. Nothing here reads `layouts.py`, where it is settled what
pays. In acting and following a share `stray` of the turns is spent on a random admissible action: it is played, while
the row teaches what the procedure would have done, so that the rows also cover the states that mistakes lead to.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from siri_verl.data.webshop_demo.phrases import CONDITIONS, STRATEGIES
from siri_verl.data.webshop_demo.procedures import PROCEDURES, facts
from siri_verl.data.webshop_demo.settings import HISTORY_LENGTH
from siri_verl.data.webshop_demo.views import read_page, read_task
from siri_verl.data.webshop_demo.words import DEPARTMENTS, department_of
from siri_verl.envs.base import TextEnv
from siri_verl.rollout.prompts import COMPACT, TurnView, render_prompt
from siri_verl.skills.mining_prompt import COMPACT_MINING, render_mining_prompt
from siri_verl.skills.text import skill_block

PRIOR: dict[str, float] = {
    "choose_options": 0.42,
    "buy_at_once": 0.18,
    "take_cheapest": 0.15,
    "check_features": 0.13,
    "second_page": 0.06,
    "precise_query": 0.06,
}
"""How often a plain episode shows a procedure, in every department alike: sets how rare a success is at the start."""

ANY_CONDITION = 0.3
"""Share of follow rows whose condition names a department drawn at random instead of the task's."""

KEPT = {"search page": 0.4, "item": 0.5}
"""How a page begins -> share of its rows that is kept; 1 for others."""


@dataclass(frozen=True)
class Row:
    """One training row and where it comes from. Only `prompt` and `reply` are shown to the model."""

    kind: str
    prompt: str
    reply: str
    procedure: str
    department: str
    task_id: str
    success: bool
    episode: int = 0
    """Numbers the episodes of a kind."""

    def record(self) -> dict[str, Any]:
        """The row in verl's multi-turn format, with the provenance beside it."""
        messages = [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.reply}]
        return {"messages": messages} | {k: v for k, v in vars(self).items() if k not in ("prompt", "reply")}


@dataclass(frozen=True)
class Episode:
    """A played episode: per turn the view, the reply of the procedure, and whether it was taken (not astray)."""

    task_id: str
    department: str
    success: bool
    views: list[TurnView]
    replies: list[str]
    actions: list[str]
    astray: list[bool]


def reply_text(think: str, action: str) -> str:
    """A reply in the contract's format."""
    return f"<think> {think} </think> <action> {action} </action>"


def play(env: TextEnv, task_id: str, procedure: str, rng: random.Random, stray: float = 0.0) -> Episode:
    """Follow a procedure through one episode.

    Raises:
        ValueError: the task text names no department of the demo shop.
    """
    observation, info = env.reset(seed=rng.randrange(2**31), options={"task_id": task_id})
    task, department = info["task"], department_of(info["task"])
    if department is None:
        raise ValueError(f"task {task_id!r}: {task!r} names no department of the demo shop")
    wanted = read_task(task)
    episode = Episode(task_id, department, False, [], [], [], [])
    history: list[tuple[str, str]] = []
    while True:
        page = read_page(observation)
        shown = tuple(history[-HISTORY_LENGTH:])  # a procedure sees what the prompt shows
        action = PROCEDURES[procedure](wanted, page, [a for _, a in shown])
        view = TurnView(task, observation, tuple(info["admissible_actions"]), len(history) + 1, shown)
        astray = rng.random() < stray and page.kind != "search"
        taken = rng.choice([a for a in info["admissible_actions"] if a != "click[buy now]"]) if astray else action
        episode.views.append(view)
        episode.replies.append(reply_text(facts(wanted, page), action))
        episode.actions.append(taken)
        episode.astray.append(astray)
        history.append((observation, taken))
        observation, _, terminated, truncated, info = env.step(taken)
        if terminated or truncated:
            return Episode(**{**vars(episode), "success": bool(info["success"])})


def _acting(kind: str, episode: Episode, procedure: str, skill: str | None) -> Iterator[Row]:
    for view, reply in zip(episode.views, episode.replies, strict=True):
        prompt = render_prompt(replace(view, skill=skill), COMPACT)
        yield Row(kind, prompt, reply, procedure, episode.department, episode.task_id, episode.success)


def act_rows(env: TextEnv, task_id: str, rng: random.Random, stray: float) -> Iterator[Row]:
    """One plain episode."""
    procedure = rng.choices(list(PRIOR), weights=list(PRIOR.values()))[0]
    yield from _acting("act", play(env, task_id, procedure, rng, stray), procedure, None)


def follow_rows(env: TextEnv, task_id: str, rng: random.Random, stray: float) -> Iterator[Row]:
    """One episode that follows the skill block of its prompts."""
    procedure = rng.choice(list(STRATEGIES))
    episode = play(env, task_id, procedure, rng, stray)
    department = rng.choice(DEPARTMENTS) if rng.random() < ANY_CONDITION else episode.department
    condition, strategy = rng.choice(CONDITIONS).format(department=department), rng.choice(STRATEGIES[procedure])
    yield from _acting("follow", episode, procedure, skill_block(condition, strategy))


def describe_row(env: TextEnv, task_id: str, rng: random.Random) -> Row:
    """One trajectory put into words."""
    procedure = rng.choice(list(STRATEGIES))
    episode = play(env, task_id, procedure, rng)
    turns = [(view.observation, action) for view, action in zip(episode.views, episode.actions, strict=True)]
    prompt = render_mining_prompt(episode.views[0].task, turns, COMPACT_MINING)
    condition = rng.choice(CONDITIONS).format(department=episode.department)
    reply = f"condition: {condition} strategy: {rng.choice(STRATEGIES[procedure])}"
    return Row("describe", prompt, reply, procedure, episode.department, task_id, episode.success)


def make_rows(
    env: TextEnv, task_ids: Sequence[str], episodes: Mapping[str, int], *, seed: int = 0, stray: float = 0.05
) -> list[Row]:
    """Rows of all three abilities, shuffled.

    Args:
        env: the WebShop environment in its compact text mode.
        task_ids: of the warm-start panel.
        episodes: how many of "act", "follow" and "describe".
        seed: decides every draw.
        stray: share of turns spent on a random action.

    Raises:
        ValueError: an unknown ability, or no tasks.
    """
    unknown = set(episodes) - {"act", "follow", "describe"}
    if unknown or not task_ids:
        raise ValueError(f"episodes: {sorted(unknown)} unknown" if unknown else "task_ids: there are none")
    rng = random.Random(f"rows:{seed}")
    rows: list[Row] = []
    for kind, make in (("act", act_rows), ("follow", follow_rows)):
        for number in range(episodes.get(kind, 0)):
            made = make(env, rng.choice(task_ids), rng, stray)
            rows += [replace(row, episode=number) for row in made if rng.random() < _kept(row.prompt)]
    rows += [
        replace(describe_row(env, rng.choice(task_ids), rng), episode=number)
        for number in range(episodes.get("describe", 0))
    ]
    rng.shuffle(rows)
    return rows


def _kept(prompt: str) -> float:
    """The share of acting rows that is kept: pages that are soon learned are thinned out, whatever is done on them."""
    page = prompt.rsplit("page: ", 1)[1]
    return next((share for start, share in KEPT.items() if page.startswith(start)), 1.0)
