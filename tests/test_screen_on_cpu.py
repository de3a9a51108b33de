# SPDX-License-Identifier: Apache-2.0
"""Lines for the user among all other output."""

import pytest

from siri_verl.screen import STAGE, duration, is_progress, marked_text, progress_of, show, show_progress


@pytest.mark.parametrize(
    "line, text",
    [
        ("[siri] step 1/2 | a", "step 1/2 | a"),
        ("\x1b[36m(TaskRunnerV1 pid=19628)\x1b[0m [siri] step 1/2", "step 1/2"),
        ("(TaskRunnerV1 pid=19628, ip=10.0.0.2) [siri] x", "x"),
        ("\x1b[36m(T pid=1)\x1b[0m [siri] x\x1b[32m [repeated 2x across cluster]\x1b[0m", "x"),
        ("step:1 - [siri] x", None),
        ("INFO [siri]", None),
    ],
)
def test_marked_lines_are_found_behind_rays_prefix(line, text):
    assert marked_text(line) == text


def test_what_is_shown_is_what_is_found(capsys):
    show("one\ntwo")
    assert [marked_text(line) for line in capsys.readouterr().out.splitlines()] == ["one", "two"]


@pytest.mark.parametrize(
    "line, progress",
    [
        ("[siri] progress 3/64", (3, 64)),
        ("[siri] step  12/100 | mining", (12, 100)),
        ("Epoch 1/1:  58%|█████▊    | 698/1193 [08:08<13:25,  1.63s/it]", (698, 1193)),
        ("Loading weights: 100%|██████████| 35/35 [00:00<00:00, 356.31it/s]", None),
        ("\x1b[36m(WorkerDict pid=7596)\x1b[0m Filtering: 50%|█████     | 50/100 [00:00<00:00, 9.1it/s]", None),
        ("Writing model shards: 100%|██████████| 1/1 [00:00<00:00, 165.20it/s]", None),
        ("step 3/4 without a mark", None),
    ],
)
def test_progress_is_read_from_steps_bars_and_counts(line, progress):
    assert progress_of(line) == progress


def test_progress_is_printed_inside_a_stage_alone(monkeypatch, capsys):
    monkeypatch.delenv(STAGE, raising=False)
    show_progress(1, 2)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv(STAGE, "x")
    show_progress(1, 2)
    line = capsys.readouterr().out.rstrip("\n")
    assert progress_of(line) == (1, 2) and is_progress(marked_text(line))


def test_durations():
    assert [duration(s) for s in (7.4, 89, 95, 59 * 60, 125 * 60)] == ["7 s", "89 s", "2 min", "59 min", "2 h 05 min"]
