# SPDX-License-Identifier: Apache-2.0
"""Prompts: one user message per turn.

A prompt is a sequence of labelled sections: role, skill, task, turn count, history, observation, admissible actions,
instruction. The plain prompt of a turn is the same sequence without the skill section: the two differ in that section
alone. Text from the environment or from a model is concatenated, never formatted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from siri_verl.failures import check_field, check_one_of
from siri_verl.trajectory.turn import TurnView


@dataclass(frozen=True)
class PromptTemplate:
    """Labels of the sections, in order. A section whose label is None is left out."""

    role: str | None = None
    skill: str | None = "Skill"
    task: str | None = "Task"
    turn: str | None = "Turn"
    history: str | None = "Earlier turns"
    observation: str | None = "Observation"
    actions: str | None = "Admissible actions"
    instruction: str | None = None
    separator: str = "\n\n"
    history_observations: bool = True
    """False keeps only the actions of earlier turns."""

    def __post_init__(self):
        for name in ("task", "observation"):
            if getattr(self, name) is None:
                raise ValueError(f"prompt template: section {name!r} must have a label, got None")


FULL = PromptTemplate(
    role="You act in a text environment, one action per turn, until the task below is solved.",
    skill="A procedure that has worked on tasks of this kind",
    instruction=(
        "First reason about the situation inside <think> </think> tags. Then give exactly one of the admissible "
        "actions inside <action> </action> tags."
    ),
)
"""For instruction-tuned models."""

COMPACT = PromptTemplate(
    skill="skill",
    task="task",
    turn="turn",
    history="did",
    observation="page",
    actions=None,
    separator="\n",
    history_observations=False,
)
"""For the small CPU model: short labels, no admissible list (the page shows its buttons), actions as history."""

COMPACT_ACTIONS = replace(COMPACT, observation="see", actions="can")
"""As COMPACT, for environments whose observations do not show what can be done."""

TEMPLATES = {"full": FULL, "compact": COMPACT, "compact_actions": COMPACT_ACTIONS}


@dataclass
class PromptSettings:
    """How a turn becomes a prompt."""

    template: str = "full"
    """`full` for instruction-tuned models; for the small CPU models `compact`, or `compact_actions`, which lists the
    admissible actions too (siri_verl/trajectory/prompts.py)."""
    history_length: int = 2
    """How many earlier (observation, action) pairs the prompt shows. Shortened first when a prompt is too long."""

    def __post_init__(self):
        check_one_of("siri.prompt.template", self.template, tuple(TEMPLATES))
        check_field(self, "siri.prompt.history_length", self.history_length >= 0, "use a number >= 0")


def render_prompt(view: TurnView, template: PromptTemplate) -> str:
    """The user message of one turn."""
    sections: list[str] = []

    def add(label: str | None, text: str, inline: bool = True) -> None:
        if label is not None:
            sections.append(f"{label}: {text}" if inline else f"{label}:\n{text}")

    if template.role is not None:
        sections.append(template.role)
    if view.skill_text is not None:
        if template.skill is None:
            raise ValueError("prompt template: a skill was given but the template has no skill section (label None)")
        add(template.skill, view.skill_text)
    add(template.task, view.task)
    add(template.turn, str(view.turn))
    if view.history:
        if template.history_observations:
            first = view.turn - len(view.history)
            lines = [f"[turn {first + k}] {o}\n-> {a}" for k, (o, a) in enumerate(view.history)]
            add(template.history, "\n".join(lines), inline=False)
        else:
            add(template.history, " ; ".join(a for _, a in view.history))
    add(template.observation, view.observation)
    add(template.actions, "\n".join(view.admissible_actions), inline=False)
    if template.instruction is not None:
        sections.append(template.instruction)
    return template.separator.join(sections)
