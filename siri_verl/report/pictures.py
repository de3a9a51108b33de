# SPDX-License-Identifier: Apache-2.0
"""The style that all pictures share, and the album that writes them as PNG files and hands them to the page as SVG."""

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
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import t as student_t

from siri_verl.core.phases import INTERNALIZATION, MINING, WARM_UP
from siri_verl.report.reader import Run

PALETTE = ("#1b6f8a", "#a8325e", "#6b4fa0", "#8a6d1b", "#2e7d46", "#b5541c", "#44546a", "#c2185b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Methods differ by colour and by marker."""
PLAIN, SKILL, DARK, GREY, RED = "#3b6fb6", "#e07b39", "#222222", "#9a9a9a", "#c0392b"
STATUS = {"candidate": "#e3b341", "active": "#3f9b57", "retired": "#b9b9b9", "internalized": "#3b6fb6"}
SHADE = {WARM_UP: "#f3f3f3", MINING: "#fdf3dc", INTERNALIZATION: "#e4f2e6"}
WINDOW = 5
"""Steps of a rolling mean."""
STYLE: dict[str, Any] = {
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
    """One picture.

    Attributes:
        file: its PNG file.
        title: its content, for those who cannot see it.
        caption: how to read it.
        source: the picture as a data URI.
        wide: whether it takes a whole row of the page.
    """

    file: Path
    title: str
    caption: str
    source: str
    wide: bool = False


class Album:
    """Draws pictures and writes their PNG files.

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
    ) -> list[Picture]:
        """Draw a picture; none where there is nothing to show.

        Args:
            name: of the file; characters that a file name should not have are replaced.
            title, caption: see Picture.
            draw: makes the figure.
            size: in inches; None: the figure's own.
            wide: see Picture.
        """
        with plt.rc_context(STYLE):
            figure = draw()
            if figure is None:
                return []
            try:
                if size is not None:
                    figure.set_size_inches(*size)
                file = self._file(name)
                self.folder.mkdir(parents=True, exist_ok=True)
                figure.savefig(file, dpi=140)
                return [Picture(file, title, caption, _data_uri(figure), wide)]
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
    """The figure as SVG without background, so that the page's shows through, and without references to anything
    outside itself."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None}
    )
    text = _PROLOGUE.sub("", buffer.getvalue())
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def look_of(number: int) -> tuple[str, str]:
    """(colour, marker) of the method with this number."""
    return PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]


def literal(text: str) -> str:
    """A name as matplotlib shows it unchanged, without mathematics between dollar signs."""
    return text.replace("$", r"\$")


def shade(run: Run, axis: Axes, names: bool = True) -> None:
    """Phases as background, named above the axis where there is room for the name.

    The axis is a little longer than the run, so that markers and the caps of intervals at its ends lie inside.
    """
    for span in run.spans:
        axis.axvspan(span.first - 0.5, span.last + 0.5, color=SHADE[span.phase], linewidth=0, zorder=0)
        # A letter takes about a hundredth of a small picture's width.
        if names and span.steps >= 0.012 * len(span.phase) * (run.last - run.first + 1):
            place: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            axis.text((span.first + span.last) / 2, 1.01, span.phase.replace("_", "-"), fontsize=8, color=GREY, **place)
    margin = 0.5 + 0.012 * (run.last - run.first)
    axis.set_xlim(run.first - margin, run.last + margin)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def legend_below(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """A legend under the figure."""
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def rolling_interval(
    windows: Sequence[np.ndarray], bounds: tuple[float, float] = (-np.inf, np.inf)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of the values of each window and its 95 % t interval, cut to the bounds.

    Returns:
        (means, low, high), each (windows,); low and high are NaN where a window has a single value.
    """
    found = np.full((3, len(windows)), np.nan)
    for i, values in enumerate(windows):
        found[0, i] = values.mean()
        if len(values) > 1:
            half = student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
            found[1:, i] = np.clip([found[0, i] - half, found[0, i] + half], *bounds)
    return found[0], found[1], found[2]


def banded(
    axis: Axes, x: np.ndarray, curve: tuple[np.ndarray, np.ndarray, np.ndarray], color: str, **line: Any
) -> None:
    """A curve (mean, low, high) with its interval as a band."""
    mean, low, high = curve
    axis.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
    axis.plot(x, mean, color=color, **{"linewidth": 1.9, **line})


def rolling(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """(n,) mean of each value and up to `window - 1` before it."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    return (total[end] - total[start]) / (end - start)
