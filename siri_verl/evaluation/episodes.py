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
"""Many episodes at once without a trainer: a policy that answers requests, environments in this process.

Every episode goes on as soon as its own reply is there, so the policy's batch stays full. What an episode meets
depends on its plan alone: environment seed, and one request seed per turn derived from the run seed and the plan's
name.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from siri_verl.core.seeding import derive_seed
from siri_verl.rollout.prompt_builder import PromptBuilder, PromptTooLongError
from siri_verl.rollout.prompts import TurnView, parse_reply

TERMINATED, TRUNCATED, PROMPT_TOO_LONG = "terminated", "truncated", "prompt_too_long"


class Policy(Protocol):
    """What answers prompts."""

    tokenizer: Any

    def submit(self, name: str, prompt_ids: list[int], seed: int) -> Future:
        """Ask for a reply; the future gives its token ids."""


@dataclass(frozen=True)
class EpisodePlan:
    """An episode to be played.

    Attributes:
        task_id: the task.
        env_seed: seeds the environment's reset.
        name: of the episode; names its requests and, with turn and run seed, seeds them.
        skill: the skill block of its prompts, None for the plain prompt.
    """

    task_id: str
    env_seed: int
    name: tuple[object, ...]
    skill: str | None = None


@dataclass
class PlayedEpisode:
    """What became of a plan.

    Attributes:
        plan: the plan.
        task: the task text.
        category: the environment's name for the kind of task, "" if it has none.
        turns: (observation, action) in order.
        valid_turns: turns whose reply was well-formed.
        success: whether the task was solved.
        score: the environment's native score.
        status: `terminated`, `truncated` or `prompt_too_long`.
        skill_missing: in some turn the skill block did not fit into the prompt and was left out.
    """

    plan: EpisodePlan
    task: str = ""
    category: str = ""
    turns: list[tuple[str, str]] = field(default_factory=list)
    valid_turns: int = 0
    success: bool = False
    score: float = 0.0
    status: str = TRUNCATED
    skill_missing: bool = False


class _Running:
    """An episode in play: its environment and the turn that awaits a reply."""

    def __init__(self, plan: EpisodePlan, env: Any):
        self.env, self.episode = env, PlayedEpisode(plan)
        self.observation, self.info = env.reset(seed=plan.env_seed, options={"task_id": plan.task_id})
        self.episode.task = str(self.info["task"])
        self.over = False

    def view(self, history_length: int) -> TurnView:
        turns = self.episode.turns
        return TurnView(
            task=self.episode.task,
            observation=self.observation,
            admissible_actions=tuple(self.info["admissible_actions"]),
            turn=len(turns) + 1,
            skill=self.episode.plan.skill,
            history=tuple(turns[-history_length:]) if history_length else (),
        )

    def act(self, reply: str) -> None:
        parsed = parse_reply(reply)
        before = self.observation
        self.observation, _, terminated, truncated, self.info = self.env.step(parsed.action)
        self.episode.turns.append((before, parsed.action))
        self.episode.valid_turns += parsed.valid
        if terminated or truncated:
            self.end(TERMINATED if terminated else TRUNCATED)

    def end(self, status: str) -> None:
        episode, info = self.episode, self.info
        episode.status, self.over = status, True
        episode.success, episode.score = bool(info.get("success", False)), float(info.get("score", 0.0))
        episode.category = str(info.get("category", ""))


class EpisodePlayer:
    """Plays plans.

    Args:
        policy: answers prompts.
        prompts: renders turns and fits them into the prompt length.
        make_env: makes an environment; environments are used again when their episode is over.
        max_turns: turns after which an episode is cut.
        seed: the seed that request seeds derive from.
        concurrent: episodes in play at a time.
    """

    def __init__(
        self,
        policy: Policy,
        prompts: PromptBuilder,
        make_env: Callable[[], Any],
        *,
        max_turns: int,
        seed: int,
        concurrent: int = 256,
    ):
        for name, value in (("max_turns", max_turns), ("concurrent", concurrent)):
            if value < 1:
                raise ValueError(f"episodes: {name}={value}; use at least 1")
        self.policy, self.prompts, self.make_env = policy, prompts, make_env
        self.max_turns, self.seed, self.concurrent = max_turns, seed, concurrent

    def play(
        self, plans: Sequence[EpisodePlan], on_end: Callable[[PlayedEpisode], None] = lambda episode: None
    ) -> list[PlayedEpisode]:
        """Play every plan once.

        Args:
            plans: in any number; their names are distinct.
            on_end: called after each episode.

        Returns:
            The episodes, in the order of the plans.

        Raises:
            ValueError: two plans share a name.
            PromptTooLongError: the first prompt of an episode does not fit even without its skill.
            Exception: whatever an environment or the policy raises.
        """
        if len({plan.name for plan in plans}) != len(plans):
            raise ValueError("episodes: two plans share a name, and with it all random choices; name them apart")
        finished: dict[int, PlayedEpisode] = {}
        running: dict[int, _Running] = {}
        replies: queue.SimpleQueue[tuple[int, Future]] = queue.SimpleQueue()
        idle: list[Any] = []
        made: list[Any] = []
        waiting = iter(range(len(plans)))

        def start_next() -> None:
            number = next(waiting, None)
            if number is None:
                return
            if not idle:
                made.append(self.make_env())
                idle.append(made[-1])
            running[number] = _Running(plans[number], idle.pop())
            self._ask(running[number], number, replies)

        try:
            for _ in range(self.concurrent):
                start_next()
            while running:
                number, future = replies.get()
                current = running[number]
                current.act(self.policy.tokenizer.decode(future.result(), skip_special_tokens=True))
                if not current.over and len(current.episode.turns) >= self.max_turns:
                    current.end(TRUNCATED)
                if not current.over:
                    self._ask(current, number, replies)
                if current.over:
                    del running[number]
                    finished[number] = current.episode
                    idle.append(current.env)
                    on_end(current.episode)
                    start_next()
        finally:
            for env in made:
                env.close()
        return [finished[number] for number in range(len(plans))]

    def _ask(self, current: _Running, number: int, replies: queue.SimpleQueue) -> None:
        """Send the request of the next turn; an episode whose prompt no longer fits is over."""
        episode = current.episode
        try:
            prompt = self.prompts.build_with_skill(current.view(self.prompts.history_length))
        except PromptTooLongError:
            if not episode.turns:
                raise
            current.end(PROMPT_TOO_LONG)
            return
        episode.skill_missing |= episode.plan.skill is not None and prompt.view.skill is None
        turn = len(episode.turns) + 1
        name = "-".join(map(str, (*episode.plan.name, turn)))
        seed = derive_seed(self.seed, "request", *episode.plan.name, turn)
        self.policy.submit(name, prompt.token_ids, seed).add_done_callback(lambda f: replies.put((number, f)))
