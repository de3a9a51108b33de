# SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest

from siri_verl.training.step_table import MissingAnchorsError, StepTable, split_key


def row(anchor="a", reward=0.0, valid=True, **more):
    return {"anchor": anchor, "turn_reward": reward, "valid": valid, **more}


def table(rows, tags=None):
    keys = list(rows)
    return StepTable.build(keys, tags or [{} for _ in keys], rows.values())


def test_columns_come_from_keys_and_fields():
    t = table(
        {"u_0_0": row("a", 0.0), "u_0_1": row("b", 10.0, False, task_id="t", success=True), "v_1_0": row("a", 1.0)}
    )
    assert t.group.tolist() == ["u", "u", "v"]
    assert t.trajectory.tolist() == ["u_0", "u_0", "v_1"]
    assert t.turn.tolist() == [0, 1, 0]
    assert t.reward.tolist() == [0.0, 10.0, 1.0]
    assert t.valid.tolist() == [True, False, True]
    assert t.success.tolist() == [False, True, False]
    assert t.last_rows().tolist() == [1, 2]


@pytest.mark.parametrize("field", ["anchor", "turn_reward", "valid"])
def test_missing_turn_field_is_an_error_that_shows_the_lines_to_add(field):
    incomplete = row()
    del incomplete[field]
    with pytest.raises(MissingAnchorsError) as error:
        table({"u_0_0": row(), "u_1_0": incomplete})
    assert field in str(error.value) and "u_1_0" in str(error.value)
    assert 'output.extra_fields["anchor"]' in str(error.value)


def test_padding_rows_need_no_fields_and_count_nowhere():
    t = table({"u_0_0": row(reward=1.0), "pad_0_0": {}}, [{}, {"is_padding": True}])
    assert t.real.tolist() == [True, False]
    assert t.last_rows().tolist() == [0]


def test_lost_environments_are_not_usable():
    t = table({"u_0_0": row(), "u_1_0": row(status="environment_lost"), "u_2_0": row(status="environment_error")})
    assert t.usable.tolist() == [True, False, False]


def test_canonical_order_does_not_depend_on_arrival():
    rows = {
        f"{uid}_{s}_{t}": row(task_id=task)
        for uid, task in (("x", "b"), ("y", "a"))
        for s in range(3)
        for t in range(11)
    }
    keys = list(rows)
    orders = []
    for seed in range(3):
        random.Random(seed).shuffle(keys)
        t = table({key: rows[key] for key in keys})
        orders.append([t.keys[i] for i in t.canonical_order()])
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][:3] == ["y_0_0", "y_0_1", "y_0_2"] and orders[0][10] == "y_0_10"


def test_aligned_to_follows_a_reordered_and_padded_batch():
    t = table({"u_0_0": row("a", 1.0), "u_0_1": row("b", 2.0), "u_1_0": row("c", 3.0)})
    keys = ["u_1_0", "pad_0_0", "u_0_0", "u_0_1"]
    aligned = t.aligned_to(keys, [{}, {"is_padding": True}, {}, {}])
    assert aligned.keys == keys
    assert aligned.real.tolist() == [True, False, True, True]
    assert np.array_equal(aligned.reward[aligned.real], [3.0, 1.0, 2.0])


def test_keys_verl_did_not_write_are_refused():
    with pytest.raises(ValueError, match="uid"):
        split_key("nokey")
    assert split_key("a_b_0_12") == ("a_b", "0", 12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("valid", "False"), ("valid", 2), ("valid", float("nan")), ("success", "no"), ("admissible", ""),
        ("skill_missing", "false"), ("turn_reward", "1"), ("turn_reward", float("nan")), ("turn_reward", [1.0, 2.0]),
        ("score", float("inf")), ("score", "0.5"), ("anchor", 3), ("anchor", b"a"), ("task_id", 7), ("status", 0),
        ("span_start", 1.5), ("span_end", True), ("history_dropped", "2"),
    ],
)  # fmt: skip
def test_values_are_taken_as_stated_or_refused_by_name(field, value):
    with pytest.raises(ValueError) as error:
        table({"u_0_0": row(), "u_1_0": row() | {field: value}})
    assert f"row u_1_0: {field}={value!r}: give " in str(error.value)


def test_numpys_scalars_are_values_too():
    stated = row(np.str_("a"), np.float32(0.5), np.bool_(False), success=np.bool_(True), span_end=np.int32(2), score=1)
    t = table({"u_0_0": stated})
    assert (t.anchor, t.reward[0], t.valid[0], t.success[0], t.span_end[0]) == (["a"], 0.5, False, True, 2)
