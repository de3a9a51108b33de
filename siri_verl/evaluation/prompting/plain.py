# SPDX-License-Identifier: Apache-2.0
"""The prompt of training as one message, for models behind an endpoint, whose tokenizer is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from siri_verl.evaluation.agents import Variant
from siri_verl.trajectory.episode import Episode
from siri_verl.trajectory.prompts import PromptTemplate, render_prompt


@dataclass(frozen=True)
class PlainPrompting:
    """One user message per turn; the oldest history goes first, then the skill, as in the rollouts' prompt builder.

    Attributes:
        template: labels and order of the sections.
        history_length: earlier turns shown.
    """

    template: PromptTemplate
    history_length: int

    def variants(self, episode: Episode) -> Iterator[Variant]:
        """See `siri_verl.evaluation.agents.Prompting`."""
        view = episode.view().recent(self.history_length)
        turns = len(view.history)
        for skill_missing in (False, True) if view.skill_text is not None else (False,):
            shown = view.plain if skill_missing else view
            for dropped in range(turns + 1):
                message = render_prompt(shown.recent(turns - dropped), self.template)
                yield Variant(({"role": "user", "content": message},), skill_missing, dropped)
