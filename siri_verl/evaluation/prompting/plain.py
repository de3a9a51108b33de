# SPDX-License-Identifier: Apache-2.0
"""The prompt of training as one message, for models behind an endpoint, whose tokenizer is not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from siri_verl.evaluation.agents import Variant
from siri_verl.evaluation.episodes import PlayedEpisode
from siri_verl.trajectory.prompts import PromptTemplate, TurnView, render_prompt


@dataclass(frozen=True)
class PlainPrompting:
    """One user message per turn; the oldest history goes first, then the skill, as in the rollouts' prompt builder.

    Attributes:
        template: labels and order of the sections.
        history_length: earlier turns shown.
    """

    template: PromptTemplate
    history_length: int

    def variants(self, view: TurnView, episode: PlayedEpisode) -> Iterator[Variant]:
        """See `siri_verl.evaluation.agents.Prompting`."""
        view = replace(view, history=view.history[-self.history_length :] if self.history_length else ())
        for shown in (view, view.plain) if view.skill is not None else (view,):
            for dropped in range(len(view.history) + 1):
                message = render_prompt(replace(shown, history=view.history[dropped:]), self.template)
                yield Variant(({"role": "user", "content": message},), shown.skill is not None, dropped)
