# SPDX-License-Identifier: Apache-2.0
"""What a stage shows: its marked lines and its progress, as a bar on a terminal and as plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from siri_verl.screen import duration, is_progress, marked_text, progress_of

LAST_LINES = 20
"""Lines of the output that are shown when the command fails."""
SHARE, PAUSE = 0.1, 20.0
"""Without a terminal a line is printed when this share more is done and this many seconds have passed."""
WAIT = 60.0
"""Without a terminal and without any progress, a line is printed after this many seconds, then after twice as many."""


class Display:
    """The screen of one stage.

    Args:
        title: of the stage.
        console: where it is shown.
        verbose: the command's output is shown as it is; then there is no bar.
        clock: seconds.
    """

    def __init__(
        self, title: str, console: Console, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic
    ):
        self.title = title
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._console, self._verbose, self._clock = console, verbose, clock
        self._begun = clock()
        self._told = (0.0, self._begun)  # share and time of the last plain line
        self._next_wait = WAIT
        self._has_progress = False
        self._bar: Progress | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal and not self._verbose:
            columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
            self._bar = Progress(TextColumn(self.title), *columns, console=self._console, transient=True)
            self._row = self._bar.add_task("", total=None)
            self._bar.start()
        else:
            self.show(f"{self.title} ...")
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._clock() - self._begun

    def show(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._console.print(Text(text), soft_wrap=True, highlight=False)

    def line(self, line: str) -> None:
        """Take in a line of the command's output."""
        text = marked_text(line)
        if text is None and line.strip() and progress_of(line) is None:
            self.last.append(Text.from_ansi(line.rstrip()).plain)
        if self._verbose:
            return
        if text is not None and not is_progress(text):
            self._has_progress = True
            self.show(text)
        progress = progress_of(line)
        if progress is not None:
            self._advance(*progress, is_shown=text is not None and not is_progress(text))

    def tick(self) -> None:
        """Called about once a second: says that the command still runs."""
        if self._bar is None and not self._verbose and not self._has_progress and self.seconds >= self._next_wait:
            self.show(f"{self.title}: {duration(self.seconds)} so far")
            self._next_wait *= 2

    def _advance(self, done: int, total: int, *, is_shown: bool) -> None:
        self._has_progress = True
        if self._bar is not None:
            self._bar.update(self._row, completed=done, total=total)
            return
        share, now = done / max(total, 1), self._clock()
        if share < self._told[0]:  # another part of the stage
            self._told = (0.0, self._told[1])
        if not is_shown and share - self._told[0] >= SHARE and now - self._told[1] >= PAUSE:
            self.show(f"{self.title}: {share:.0%} ({done} of {total})")
            self._told = share, now
