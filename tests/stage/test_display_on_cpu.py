# SPDX-License-Identifier: Apache-2.0
"""The screen of a stage, with and without a terminal."""

import io

from rich.console import Console

from siri_verl.stage.display import LAST_LINES, Display

BAR = "Epoch 1/1:  58%|█████▊    | {}/1000 [08:08<13:25,  1.63s/it]"


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def plain(**given):
    out, clock = io.StringIO(), Clock()
    return Display("warm start", Console(file=out, width=200), clock=clock, **given), out, clock


def test_without_a_terminal_progress_is_plain_lines_far_apart():
    display, out, clock = plain()
    with display:
        for done in range(1001):
            clock.now = done * 0.1
            display.line(BAR.format(done))
            display.line("noise")
    lines = out.getvalue().splitlines()
    assert lines[0] == "warm start ..." and lines[1] == "warm start: 20% (200 of 1000)"
    assert len(lines) <= 6 and "\r" not in out.getvalue() and "noise" not in out.getvalue()


def test_marked_lines_are_shown_and_counts_only_move_the_bar():
    display, out, clock = plain()
    with display:
        for step in range(1, 4):
            clock.now += 60
            display.line(f"\x1b[36m(T pid=1)\x1b[0m [siri] step {step}/3 | [bold] success")
        display.line("[siri] progress 1/64")
    assert out.getvalue().splitlines() == ["warm start ...", *(f"step {k}/3 | [bold] success" for k in (1, 2, 3))]


def test_a_stage_without_progress_says_that_it_runs_ever_more_seldom():
    display, out, clock = plain()
    with display:
        for clock.now in range(600):
            display.tick()
    says = [f"warm start: {time} so far" for time in ("60 s", "2 min", "4 min", "8 min")]
    assert out.getvalue().splitlines() == ["warm start ...", *says]


def test_on_a_terminal_there_is_a_bar():
    out = io.StringIO()
    with Display("warm start", Console(file=out, width=100, force_terminal=True)) as display:
        display.line(BAR.format(400))
        display.line("[siri] step 1/2 | a")
        display._bar.refresh()
    assert "step 1/2 | a" in out.getvalue() and "1/2" in out.getvalue() and "warm start ..." not in out.getvalue()


def test_the_last_lines_of_the_output_are_kept_without_bars_and_colors():
    display, _, _ = plain()
    for number in range(50):
        display.line(f"\x1b[31mline {number}\x1b[0m")
        display.line(BAR.format(number))
        display.line("")
    assert list(display.last) == [f"line {number}" for number in range(50 - LAST_LINES, 50)]
