# SPDX-License-Identifier: Apache-2.0
"""The console of the commands: prints texts of models, environments and catalogues literally."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from siri_verl.screen import visible


class Terminal(Console):
    """A console without markup and emoji codes, which passes no control character of a text on."""

    def __init__(self, **given: Any):
        super().__init__(markup=False, emoji=False, **given)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of rich, their texts without control characters; rich's own control segments stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def labelled(label: str, style: str, text: object) -> Text:
    """A line that begins with a colored word."""
    return Text.assemble((label, style), " ", str(text))
