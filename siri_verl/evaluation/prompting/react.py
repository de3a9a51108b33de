# SPDX-License-Identifier: Apache-2.0
"""ReAct (Yao et al., arXiv 2210.03629): thought and action in turn, over the running transcript of the episode.

The transcript is one conversation: the model's own replies stand in it with their thoughts, and each observation is
the message after. Deviations from the paper: zero-shot by default (an example is a setting), and a thought and an
action stand in the tags of this project's reply format, not behind "Thought:" and "Action:".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from siri_verl.endpoint import Message
from siri_verl.evaluation.agents import Variant
from siri_verl.trajectory.episode import Episode

INSTRUCTION = (
    "Solve a task in a text environment by interleaving thought and action. In every turn, first write one thought "
    "inside <think> </think> tags: what the observation says, what is still to be done, what to do next. Then give one "
    "action inside <action> </action> tags. The observation that follows is the environment's answer."
)
EXAMPLE, TASK, SKILL, LESSONS = "Example", "Task", "A procedure that has worked on tasks of this kind", "Lessons"
LESSONS_INTRODUCTION = "from earlier attempts at this same task, which failed:"
LEFT_OUT = "(earlier turns are left out)"


@dataclass(frozen=True)
class ReactPrompting:
    """One conversation per episode.

    Attributes:
        history_length: earlier turns kept in the transcript; None keeps all.
        example: a worked example put before the task, "" for none.
    """

    history_length: int | None = None
    example: str = ""

    def variants(self, episode: Episode) -> Iterator[Variant]:
        """See `siri_verl.evaluation.agents.Prompting`. The oldest turns go first, then the skill."""
        turns, skill_text = len(episode.turns), episode.plan.skill_text
        start = 0 if self.history_length is None else max(turns - self.history_length, 0)
        for shown in (skill_text, None) if skill_text is not None else (None,):
            for first in range(start, turns + 1):
                yield Variant(self._messages(episode, shown, first), shown != skill_text, first - start)

    def _messages(self, episode: Episode, skill_text: str | None, first: int) -> tuple[Message, ...]:
        """The conversation from turn `first` (counted from 0) on."""
        view = episode.view()
        opening = self._opening(view.task, skill_text, episode.plan.memory)
        if first:
            opening += f"\n\n{LEFT_OUT}"
        observations = [observation for observation, _ in view.history[first:]]
        messages: list[Message] = []
        for number, observation in enumerate([*observations, view.observation]):
            text = f"Observation: {observation}"
            if number == len(observations) and view.admissible_actions:
                text += "\n\nAdmissible actions:\n" + "\n".join(view.admissible_actions)
            messages.append({"role": "user", "content": text if number else f"{opening}\n\n{text}"})
            if number < len(observations):
                messages.append({"role": "assistant", "content": episode.turns[first + number].reply.strip()})
        return tuple(messages)

    def _opening(self, task: str, skill_text: str | None, memory: tuple[str, ...]) -> str:
        parts = [INSTRUCTION]
        if self.example:
            parts.append(f"{EXAMPLE}:\n{self.example}")
        if skill_text is not None:
            parts.append(f"{SKILL}: {skill_text}")
        parts.append(f"{TASK}: {task}")
        if memory:
            lessons = "\n".join(f"{number}. {lesson}" for number, lesson in enumerate(memory, start=1))
            parts.append(f"{LESSONS} {LESSONS_INTRODUCTION}\n{lessons}")
        return "\n\n".join(parts)
