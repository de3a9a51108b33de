# SPDX-License-Identifier: Apache-2.0
"""Rows to be learned again: which are drawn, how long they are kept, and their file."""

import json
import random
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.runs.replay import PastRow, decode, encode, read_replay, write_replay
from siri_verl.training.replay import Replay


def row(step, seed=0):
    rng = random.Random(f"{step} {seed}")
    prompt, scores = [rng.randrange(300) for _ in range(3)], [-rng.random() * 5 for _ in range(4)]
    return PastRow(step, prompt, [5, 6, 7, 8], (1, 4), (2, 4), rng.random(), scores, scores)


def played(steps, **settings):
    """A replay after some steps of three rows each."""
    replay = Replay(InternalizationSettings(**settings), seed=1)
    for step in range(1, steps + 1):
        replay.add([row(step, i) for i in range(3)], step)
    return replay


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 4))
def test_rows_of_the_last_steps_are_drawn(steps, number, back):
    replay = played(steps, replay=number, replay_steps=back)
    drawn = replay.draw(steps + 1)
    available = 3 * min(back, steps)
    assert len(drawn) == min(number, available)
    assert all(steps + 1 - back <= past.step <= steps for past in drawn)
    assert drawn == [past for past in replay.rows if past in drawn], "in the order in which they came"
    assert drawn == played(steps, replay=number, replay_steps=back).draw(steps + 1)
    assert len(replay.rows) == available, "what no later step can draw is not kept"


def test_other_steps_draw_other_rows():
    wide = played(4, replay=2, replay_steps=40)
    assert len({str(wide.draw(step)) for step in range(5, 15)}) > 3


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_soft_targets_come_back_bit_for_bit(tokens, number, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 2**31, (tokens, number)).astype(np.int32)
    scores = rng.standard_normal((tokens, number)).astype(np.float32)
    past = replace(row(1), top_ids=encode(ids), top_log_probs=encode(scores))
    with TemporaryDirectory() as folder:
        write_replay(Path(folder) / "rows.jsonl", [past, row(2)])
        found, without = read_replay(Path(folder) / "rows.jsonl")
    assert found == past and without == row(2)
    for text, values in ((found.top_ids, ids), (found.top_log_probs, scores)):
        again = decode(text, values.dtype, tokens)
        assert again.dtype == values.dtype and np.array_equal(again, values)
    assert decode(without.top_ids, np.int32, tokens).size == 0


def test_nothing_is_kept_without_replay():
    assert played(3).rows == [] and played(3).draw(4) == []


def test_a_file_gives_the_rows_back_exactly(tmp_path):
    path, rows = tmp_path / "rows.jsonl", [row(1), row(2)]
    write_replay(path, rows)
    assert read_replay(path) == rows
    again = tmp_path / "again.jsonl"
    write_replay(again, read_replay(path))
    assert again.read_bytes() == path.read_bytes() and "top_ids" not in path.read_text()
    assert read_replay(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda lines: lines[:-1], "line 1: 1 rows, expected 2"),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 7'), *lines[1:]], "line 1: version 7, expected 1"),
        (lambda lines: [*lines[:2], lines[2][:-9]], "line 3: "),
        (lambda lines: [*lines[:2], json.dumps({**json.loads(lines[2]), "more": 1})], "line 3: .*more"),
        (lambda lines: [*lines[:2], "[]"], "line 3: "),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    path = tmp_path / "rows.jsonl"
    write_replay(path, [row(1), row(2)])
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    with pytest.raises(ValueError, match=f"rows.jsonl, {message}.*siri.internalization.replay=0"):
        read_replay(path)
