# SPDX-License-Identifier: Apache-2.0
"""What the report's pictures share: one look, one way onto the page (inline SVG) and onto disk (PNG)."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

PALETTE = ("#1b6f8a", "#a8325e", "#6b4fa0", "#8a6d1b", "#2e7d46", "#b5541c", "#44546a", "#c2185b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Methods are told apart by colour and by marker."""
SIZE = (4.9, 3.3)
SMALL = (3.6, 2.5)
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#30343b",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "xtick.color": "#30343b",
    "ytick.color": "#30343b",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "siri_verl",
    "figure.constrained_layout.use": True,
}
_PROLOGUE = re.compile(r"^.*?(?=<svg)|<metadata>.*?</metadata>", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """One picture of the page.

    Attributes:
        name: of its PNG file, without ending.
        title: what it is, for those who cannot see it.
        caption: what one sees.
        source: a data URI.
        wide: takes a whole row.
    """

    name: str
    title: str
    caption: str
    source: str
    wide: bool = False


class Album:
    """Draws pictures, writes their PNG files, and hands them to the page.

    Args:
        folder: of the PNG files.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: set[str] = set()

    def add(
        self,
        name: str,
        title: str,
        caption: str,
        draw: Callable[[], Figure | None],
        *,
        size: tuple[float, float] | None = None,
        wide: bool = False,
    ) -> Picture | None:
        """Draw a picture; None where the run has nothing to show.

        Args:
            name: of the file; letters that a file name should not have are replaced.
            title, caption: see Picture.
            draw: makes the figure.
            size: in inches, in place of the figure's own.
            wide: see Picture.
        """
        with plt.rc_context(_STYLE):
            figure = draw()
            if figure is None:
                return None
            try:
                if size is not None:
                    figure.set_size_inches(*size)
                file = self._file(name)
                self.folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(file, dpi=140)
                return Picture(file.stem, title, caption, _data_uri(figure), wide)
            finally:
                plt.close(figure)

    def _file(self, name: str) -> Path:
        clean = re.sub(r"[^\w.-]+", "_", name).strip("_.") or "picture"
        unique, number = clean, 2
        while unique.lower() in self.names:
            unique, number = f"{clean}_{number}", number + 1
        self.names.add(unique.lower())
        return self.folder / f"{unique}.png"


def _data_uri(figure: Figure) -> str:
    """The figure as SVG, without anything that points elsewhere."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    text = _PROLOGUE.sub("", buffer.getvalue())
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def present(pictures: Sequence[Picture | None]) -> list[Picture]:
    """Those that there are."""
    return [picture for picture in pictures if picture is not None]


def look_of(number: int) -> tuple[str, str]:
    """(colour, marker) of the method with this number."""
    return PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
