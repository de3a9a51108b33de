# SPDX-License-Identifier: Apache-2.0
"""An evaluation: every task of a panel, n times, each episode once and on disk as soon as it is over.

What an episode meets follows from seed, task, session and trial alone, so neither other episodes nor an interruption
change it. With and without skills the episodes have the same names, hence the same environment and request seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from siri_verl.core.seeding import derive_seed
from siri_verl.endpoint import Completion, RequestRefusedError
from siri_verl.evaluation.agents import ChatModel
from siri_verl.evaluation.episodes import EpisodePlayer
from siri_verl.evaluation.log import TrajectoryLog
from siri_verl.evaluation.prompting.reflexion import (
    MEMORY,
    NOTHING_LEARNED,
    clean_reflection,
    reflection_request,
)
from siri_verl.skills.skill import Skill
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.file import EVALUATION
from siri_verl.trajectory.prompt_builder import PromptTooLongError
from siri_verl.trajectory.seeds import evaluation_env_seed
from siri_verl.trajectory.turn import Reflection, Trajectory


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

    def run(self, on_end: Callable[[Trajectory], None] = lambda trajectory: None) -> list[Trajectory]:
        """Play what is missing.

        Args:
            on_end: called with each trajectory that was played now.

        Returns:
            The trajectories of all trials, in the order of the panel, without tasks that cannot be played.

        Raises:
            FailedTasksError: too many tasks cannot be played.
            Exception: whatever the model raises; what is finished is on disk.
        """
        samples = [(task_id, session) for session in range(self.repeats) for task_id in self.task_ids]
        trials = self.reflecting.max_trials if self.reflecting else 1
        for trial in range(1, trials + 1):
            if trial > 1:
                samples = [sample for sample in samples if self._to_be_tried_again(sample, trial - 1)]
                self._reflect(samples, trial - 1)
            missing = [sample for sample in samples if (*sample, trial) not in self.log.trajectories]

            def keep(episode: Episode, trial: int = trial) -> None:
                trajectory = episode.trajectory(
                    EVALUATION, session=episode.plan.name[2], trial=trial, task_type=self.typer(episode.task)
                )
                self.log.append(trajectory)
                on_end(trajectory)

            self.player.play([self._plan(*sample, trial) for sample in missing], keep)
        number = {task_id: index for index, task_id in enumerate(self.task_ids)}
        return sorted(self.log.trajectories.values(), key=lambda t: (number[t.task_id], t.session, t.trial))

    def _to_be_tried_again(self, sample: tuple[str, int], trial: int) -> bool:
        """Whether a sample's trial was played and failed; tasks that cannot be played have none."""
        last = self.log.trajectories.get((*sample, trial))
        return last is not None and not last.success

    def _plan(self, task_id: str, session: int, trial: int) -> EpisodePlan:
        skill = self.skills.get(task_id)
        return EpisodePlan(
            task_id,
            evaluation_env_seed(self.seed, task_id, session),
            ("eval", task_id, session, trial),
            skill.block if skill else None,
            skill.skill_id if skill else "",
            self._memory(task_id, session, trial),
        )

    def _memory(self, task_id: str, session: int, trial: int) -> tuple[str, ...]:
        """The reflections that a trial is shown."""
        first = max(1, trial - MEMORY)
        return tuple(self.log.reflections[task_id, session, earlier].text for earlier in range(first, trial))

    def _reflect(self, samples: Sequence[tuple[str, int]], trial: int) -> None:
        """Have the failed trials reflected on."""
        assert self.reflecting
        asked: list[tuple[tuple[str, int], Future]] = []
        for task_id, session in samples:
            if (task_id, session, trial) in self.log.reflections:
                continue
            trajectory = self.log.trajectories[task_id, session, trial]
            memory = self._memory(task_id, session, trial)
            request = reflection_request(trajectory.task, trajectory.history, trajectory.final_observation, memory)
            seed = derive_seed(self.seed, "reflection", task_id, session, trial)
            name = f"reflection-{task_id}-{session}-{trial}"
            asked.append(((task_id, session), self.reflecting.model.submit(name, request, seed)))
        for (task_id, session), future in asked:
            try:
                _, reply = future.result()
            except (PromptTooLongError, RequestRefusedError):
                reply = Completion(NOTHING_LEARNED, None, None)
            text = clean_reflection(reply.opening + reply.text, self.reflecting.special_tokens)
            self.log.append(Reflection(task_id, session, trial, text, reply.prompt_tokens, reply.reply_tokens))
