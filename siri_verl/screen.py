# SPDX-License-Identifier: Apache-2.0
"""The lines by which a user follows a run.

A process anywhere in a run prints them with `show`. verl's own command prints them among its other output; the
recipes (`siri-verl stage`) put all output into the run's log and the marked lines alone on the screen.
"""

from __future__ import annotations

import os
import re

MARK = "[siri] "
STAGE = "SIRI_VERL_STAGE"
"""Environment variable that `siri-verl stage` sets for the command it runs and all its child processes."""

# Cc without tab and line feed: cursor, colors, titles. Then the marks that change the direction of text.
_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Ray puts the actor's name before a line of a worker, in color, and may append how often it was repeated.
_MARKED = re.compile(r"^(?:\x1b\[\d+m)?(?:\([^()]*pid=[^()]*\))?(?:\x1b\[0m)? ?\[siri\] (.*?)(?:\x1b\[.*)?$")
_PROGRESS = re.compile(r"^progress (\d+)/(\d+)$")
_STEP = re.compile(r"^step +(\d+)/(\d+)\b")
_TQDM = re.compile(r"\| *(\d+)/(\d+) \[")
# transformers' bar over a model's tensors, and bars of Ray's workers: details of a stage.
_DETAIL = re.compile(r"Loading |pid=\d")
FEWEST = 10
"""A bar of tqdm over fewer items than this shows a detail (files, shards), not the stage."""


def visible(text: str) -> str:
    """A text without the characters that steer a terminal: it may be a model's, an environment's or a catalogue's."""
    return _TERMINAL.sub("", text)


def show(text: str) -> None:
    """Print lines for the user."""
    for line in text.splitlines():
        print(MARK + visible(line), flush=True)


def show_progress(done: int, total: int) -> None:
    """Move the bar of the stage that this process belongs to; prints nothing outside one."""
    if STAGE in os.environ:
        print(f"{MARK}progress {done}/{total}", flush=True)


def marked_text(line: str) -> str | None:
    """The text of a line that `show` printed, None for any other line."""
    found = _MARKED.match(line)
    return found[1] if found else None


def progress_of(line: str) -> tuple[int, int] | None:
    """(done, total) where the line states them: `show_progress`, a training step, or a bar of tqdm."""
    text = marked_text(line)
    if text is not None:
        found = _PROGRESS.match(text) or _STEP.match(text)
        return (int(found[1]), int(found[2])) if found else None
    found = _TQDM.search(line)
    if found is None or int(found[2]) < FEWEST or _DETAIL.search(line):
        return None
    return int(found[1]), int(found[2])


def is_progress(text: str) -> bool:
    """Whether a marked text only moves the bar."""
    return _PROGRESS.match(text) is not None


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
