# SPDX-License-Identifier: Apache-2.0
"""An evaluation: every task of a panel, n times, each episode once and on disk as soon as it is over.

What an episode meets follows from seed, task, repetition and trial alone, so neither company nor an interruption
changes it. With and without skills the episodes have the same names, hence the same environment and request seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from siri_verl.core.seeding import derive_seed
from siri_verl.evaluation.agents import ChatModel
from siri_verl.evaluation.episodes import EpisodePlan, EpisodePlayer, PlayedEpisode
from siri_verl.evaluation.log import EPISODE, REFLECTION, TrajectoryLog
from siri_verl.evaluation.prompting.reflexion import MEMORY, clean_reflection, reflection_request
from siri_verl.skills.skill import Skill

Record = dict[str, Any]


@dataclass(frozen=True)
class Reflecting:
    """How failed trials are reflected on (Reflexion).

    Attributes:
        model: who writes the reflections.
        max_trials: attempts at a task.
        special_tokens: of the model's tokenizer, kept out of reflections.
    """

    model: ChatModel
    max_trials: int
    special_tokens: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_trials < 1:
            raise ValueError(f"max_trials={self.max_trials}: use at least 1")


class Evaluation:
    """Plays what is not in the log yet.

    Args:
        task_ids: the panel.
        repeats: episodes per task.
        seed: everything derives from it.
        player: plays plans.
        log: where finished episodes go.
        typer: task text -> task type.
        skills: task id -> the skill its prompts show; tasks without one are played plain.
        reflecting: for Reflexion.
    """

    def __init__(
        self,
        task_ids: Sequence[str],
        repeats: int,
        seed: int,
        player: EpisodePlayer,
        log: TrajectoryLog,
        typer: Callable[[str], str],
        skills: Mapping[str, Skill] | None = None,
        reflecting: Reflecting | None = None,
    ):
        if repeats < 1:
            raise ValueError(f"repeats={repeats}: use at least 1")
        self.task_ids, self.repeats, self.seed = list(task_ids), repeats, seed
        self.player, self.log, self.typer = player, log, typer
        self.skills, self.reflecting = skills or {}, reflecting

    def run(self, on_end: Callable[[Record], None] = lambda record: None) -> list[Record]:
        """Play what is missing.

        Args:
            on_end: called with each episode that was played now.

        Returns:
            The episodes of all trials, in the order of the panel.

        Raises:
            Exception: whatever environment or model raise; what is finished is on disk.
        """
        samples = [(task_id, repetition) for repetition in range(self.repeats) for task_id in self.task_ids]
        trials = self.reflecting.max_trials if self.reflecting else 1
        for trial in range(1, trials + 1):
            if trial > 1:
                samples = [sample for sample in samples if not self._episode(*sample, trial - 1)["success"]]
                self._reflect(samples, trial - 1)
            missing = [sample for sample in samples if self.log.get(EPISODE, *sample, trial) is None]

            def keep(episode: PlayedEpisode, trial: int = trial) -> None:
                record = self._record(episode, trial)
                self.log.append(record)
                on_end(record)

            self.player.play([self._plan(*sample, trial) for sample in missing], keep)
        number = {task_id: index for index, task_id in enumerate(self.task_ids)}
        return sorted(self.log.episodes(), key=lambda r: (number[r["task_id"]], r["repetition"], r["trial"]))

    def _episode(self, task_id: str, repetition: int, trial: int) -> Record:
        return self.log.records[EPISODE, task_id, repetition, trial]

    def _plan(self, task_id: str, repetition: int, trial: int) -> EpisodePlan:
        skill = self.skills.get(task_id)
        return EpisodePlan(
            task_id,
            # Every trial meets the same environment.
            derive_seed(self.seed, "eval", "env", task_id, repetition),
            ("eval", task_id, repetition, trial),
            skill.block if skill else None,
            self._memory(task_id, repetition, trial),
        )

    def _memory(self, task_id: str, repetition: int, trial: int) -> tuple[str, ...]:
        """The reflections that a trial is shown."""
        first = max(1, trial - MEMORY)
        return tuple(
            self.log.records[REFLECTION, task_id, repetition, earlier]["text"] for earlier in range(first, trial)
        )

    def _reflect(self, samples: Sequence[tuple[str, int]], trial: int) -> None:
        """Have the failed trials reflected on."""
        assert self.reflecting
        asked: list[tuple[tuple[str, int], Future]] = []
        for task_id, repetition in samples:
            if self.log.get(REFLECTION, task_id, repetition, trial) is not None:
                continue
            episode = self._episode(task_id, repetition, trial)
            request = reflection_request(
                episode["task"],
                [(turn["observation"], turn["action"]) for turn in episode["turns"]],
                episode["final_observation"],
                self._memory(task_id, repetition, trial),
            )
            seed = derive_seed(self.seed, "reflection", task_id, repetition, trial)
            name = f"reflection-{task_id}-{repetition}-{trial}"
            asked.append(((task_id, repetition), self.reflecting.model.submit(name, request, seed)))
        for (task_id, repetition), future in asked:
            _, reply = future.result()
            self.log.append(
                {
                    "record": REFLECTION,
                    "task_id": task_id,
                    "repetition": repetition,
                    "trial": trial,
                    "text": clean_reflection(reply.text, self.reflecting.special_tokens),
                    "prompt_tokens": reply.prompt_tokens,
                    "reply_tokens": reply.reply_tokens,
                }
            )

    def _record(self, episode: PlayedEpisode, trial: int) -> Record:
        plan = episode.plan
        skill = self.skills.get(plan.task_id)
        turns = [
            {
                "observation": observation,
                "reply": detail.answer.text,
                "action": action,
                "problem": detail.problem,
                "admissible": detail.admissible,
                "prompt_tokens": detail.answer.prompt_tokens,
                "reply_tokens": detail.answer.reply_tokens,
                "history_dropped": detail.answer.history_dropped,
            }
            for (observation, action), detail in zip(episode.turns, episode.details, strict=True)
        ]
        return {
            "record": EPISODE,
            "task_id": plan.task_id,
            "repetition": plan.name[2],
            "trial": trial,
            "env_seed": plan.env_seed,
            "task": episode.task,
            "category": episode.category,
            "task_type": self.typer(episode.task),
            "skill_id": skill.skill_id if skill else "",
            "skill_missing": episode.skill_missing,
            "success": episode.success,
            "score": episode.score,
            "status": episode.status,
            "turns": turns,
            "final_observation": episode.final_observation,
        }
