# SPDX-License-Identifier: Apache-2.0
"""The gate, the weights, the column and its loss, against the formula written out token by token."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.internalization import (
    InternalizationSettings,
    advantage_weights,
    internalization_loss,
    open_rows,
    weight_column,
)
from siri_verl.core.self_imitation import self_imitation_rows

DELTAS = st.sampled_from([float("nan"), -0.5, 0.0, 1e-9, 0.25, 1.0])


@st.composite
def tables(draw, max_rows=12, tokens=5):
    # Arrays from a drawn seed: drawing every cell would cost more than all the rest of these tests.
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(1, max_rows))
    return dict(
        used=(rng.random(rows) < 0.6).tolist(),
        delta=draw(st.lists(DELTAS, min_size=rows, max_size=rows)),
        active=(rng.random(rows) < 0.5).tolist(),
        advantage=rng.choice([-10.0, -1.0, 0.0, 2.5, 10.0, 30.0], rows).tolist(),
        step=rng.integers(0, 3, rows).tolist(),
        span=rng.random((rows, tokens)) < 0.5,
        log_prob=rng.uniform(-8, 0, (rows, tokens)),
    )


OPTIONS = st.fixed_dictionaries(
    dict(
        gate=st.booleans(),
        advantage_weights=st.booleans(),
        require_active=st.booleans(),
        log_prob_floor=st.sampled_from([None, -4.0]),
        normalise=st.sampled_from(["gated", "all_tokens"]),
    )
)


def column_of(t, options, scale=10.0, clip=1.0):
    s = InternalizationSettings(**options)
    opened = open_rows(t["used"], t["delta"], t["active"], s)
    weight = advantage_weights(t["advantage"], scale, clip, s)
    every = [int(t["span"][[k == step for k in t["step"]]].sum()) + 7 for step in range(3)]
    return weight_column(
        opened, weight, t["span"], s, optimizer_step=t["step"], all_tokens=every, plain_log_prob=t["log_prob"]
    ), every


@settings(max_examples=300, deadline=None)
@given(tables(), OPTIONS)
def test_column_is_the_formula_token_by_token(t, options):
    got, every = column_of(t, options)
    rows, tokens = t["span"].shape
    m = np.zeros((rows, tokens), dtype=bool)
    w = np.zeros(rows)
    for i in range(rows):
        row_open = t["used"][i]
        if options["gate"]:
            row_open = row_open and not math.isnan(t["delta"][i]) and t["delta"][i] > 0
        if options["require_active"]:
            row_open = row_open and t["active"][i]
        w[i] = min(max(t["advantage"][i] / 10.0, 0.0), 1.0) if options["advantage_weights"] else 1.0
        for j in range(tokens):
            floor = options["log_prob_floor"]
            m[i, j] = row_open and t["span"][i, j] and (floor is None or t["log_prob"][i, j] >= floor)
    np.testing.assert_array_equal(got.gate, m)
    for step in range(3):
        mine = [i for i in range(rows) if t["step"][i] == step]
        total = every[step] if options["normalise"] == "all_tokens" else m[mine].sum()
        assert got.denominators[step:][:1].tolist() in ([total], [])
        for i in mine:
            expected = m[i] * w[i] / total if total else np.zeros(tokens)
            np.testing.assert_allclose(got.column[i], expected, rtol=1e-12)


@settings(max_examples=200, deadline=None)
@given(tables(), OPTIONS)
def test_column_is_a_weighted_share(t, options):
    got, _ = column_of(t, options)
    assert (got.column >= 0).all() and not got.column[~got.gate].any()
    for step in range(3):
        mine = [k == step for k in t["step"]]
        # Weights are at most 1 here, so a step's column sums to at most 1: lambda alone bounds the term's size.
        assert got.column[mine].sum() <= 1 + 1e-9
        if not options["advantage_weights"] and options["normalise"] == "gated" and got.gate[mine].any():
            assert got.column[mine].sum() == pytest.approx(1.0)


@settings(max_examples=200, deadline=None)
@given(tables())
def test_each_of_the_three_factors_is_needed(t):
    got, _ = column_of(t, {})
    for i in range(len(t["used"])):
        if not t["used"][i] or not t["delta"][i] > 0:
            assert not got.gate[i].any()
    assert not got.gate[~t["span"]].any()


@settings(max_examples=100, deadline=None)
@given(tables())
def test_stricter_options_only_close_the_gate(t):
    base, _ = column_of(t, {})
    for stricter in (dict(require_active=True), dict(log_prob_floor=-4.0)):
        assert not (column_of(t, stricter)[0].gate & ~base.gate).any()
    assert not (base.gate & ~column_of(t, dict(gate=False))[0].gate).any()


def test_one_gated_turn_alone_gets_the_full_weight_unless_normalised_by_all_tokens():
    span = np.ones((1, 4), dtype=bool)
    alone = weight_column([True], [1.0], span, InternalizationSettings())
    assert alone.column.sum() == 1.0
    shared = weight_column([True], [1.0], span, InternalizationSettings(normalise="all_tokens"), all_tokens=[400])
    assert shared.column.sum() == pytest.approx(0.01)


def test_a_shut_gate_gives_zeros_not_nan():
    got = weight_column([False, False], [1.0, 1.0], np.ones((2, 3)), InternalizationSettings(), optimizer_step=[0, 1])
    assert not got.column.any() and got.denominators.tolist() == [0, 0]
    assert got.metrics["tokens_gated"] == 0 and got.metrics["weight_mean"] == 0


def test_rows_of_weight_zero_count_in_the_denominator():
    got = weight_column([True, True], [1.0, 0.0], np.ones((2, 2)), InternalizationSettings())
    np.testing.assert_array_equal(got.column, [[0.25, 0.25], [0, 0]])
    assert got.metrics["rows_gated"] == 2 and got.metrics["rows_weighted"] == 1


def test_metrics_of_the_plain_policys_log_probs():
    log_prob = np.array([[-0.01, -0.02, -9.0]])
    got = weight_column([True], [1.0], [[1, 1, 0]], InternalizationSettings(), plain_log_prob=log_prob)
    assert got.metrics["plain_log_prob_mean"] == pytest.approx(-0.015)
    got = weight_column([True], [1.0], [[1, 1, 1]], InternalizationSettings(), plain_log_prob=log_prob)
    assert got.metrics["below_floor_share"] == pytest.approx(1 / 3), "logged although no floor is set"
    assert got.gate.sum() == 3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.sampled_from([1.0, 10.0]), st.sampled_from([1.0, 2.0]))
def test_weights_are_clipped_monotone_and_zero_for_losses(advantage, scale, clip):
    w = advantage_weights(advantage, scale, clip)
    assert (w >= 0).all()
    assert (w <= clip).all()
    assert not w[np.asarray(advantage) <= 0].any()
    order = np.argsort(advantage)
    assert (np.diff(w[order]) >= 0).all()
    inside = (np.asarray(advantage) > 0) & (np.asarray(advantage) < clip * scale)
    np.testing.assert_allclose(w[inside], np.asarray(advantage)[inside] / scale)


def test_scale_and_clip_follow_the_normalisation_unless_set():
    s = InternalizationSettings()
    assert s.scale_and_clip("mean", 10.0) == (10.0, 1.0) and s.scale_and_clip("mean_std", 10.0) == (1.0, 2.0)
    assert InternalizationSettings(scale=3.0, clip=0.5).scale_and_clip("mean", 10.0) == (3.0, 0.5)


def test_lambda_rises_linearly_from_the_first_update_and_stays():
    s = InternalizationSettings(lambda_max=0.2, warmup_updates=4)
    assert [s.lambda_at(k) for k in (1, 2, 4, 5, 100)] == pytest.approx([0.05, 0.1, 0.2, 0.2, 0.2])
    assert InternalizationSettings(warmup_updates=0).lambda_at(1) == 0.1
    with pytest.raises(ValueError, match="counted from 1"):
        s.lambda_at(0)


@settings(max_examples=100, deadline=None)
@given(tables(), st.integers(0, 40), st.integers(0, 3))
def test_self_imitation_takes_positive_plain_rows_up_to_the_target(t, target, seed):
    plain = [not used for used in t["used"]]
    tokens = t["span"].sum(axis=1)
    got = self_imitation_rows(plain, t["advantage"], tokens, target, seed)
    eligible = np.asarray(plain) & (np.asarray(t["advantage"]) > 0) & (tokens > 0)
    assert not (got & ~eligible).any()
    taken = tokens[got].sum()
    assert taken <= target
    left = eligible & ~got
    assert not left.any() or tokens[left].min() > target - taken, "no further row would fit"
    np.testing.assert_array_equal(got, self_imitation_rows(plain, t["advantage"], tokens, target, seed))


@pytest.mark.parametrize("ranks, micro", [(1, 1), (1, 3), (2, 1), (2, 2), (3, 4)])
def test_gradient_equals_the_formula_for_any_split(ranks, micro):
    """Ranks' gradients are averaged (as verl does), micro-batches' summed; compared with L_int written out in one
    go."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    rows, tokens, vocab = 12, 6, 5
    features = torch.tensor(rng.normal(size=(rows, tokens, 4)))
    target = torch.tensor(rng.integers(0, vocab, (rows, tokens)))
    span = rng.random((rows, tokens)) < 0.5
    opened, weight = rng.random(rows) < 0.7, rng.random(rows)

    def log_prob(parameter, index):
        return torch.log_softmax(features[index] @ parameter, -1).gather(-1, target[index][..., None])[..., 0]

    start = torch.tensor(rng.normal(size=(4, vocab)))
    whole = start.clone().requires_grad_()
    m = torch.tensor(span & opened[:, None])
    loss = -(m * torch.tensor(weight)[:, None] * log_prob(whole, list(range(rows)))).sum() / m.sum()
    loss.backward()

    column = torch.tensor(weight_column(opened, weight, span, InternalizationSettings()).column)
    dealt = np.arange(rows) % ranks
    total, value = torch.zeros_like(start), 0.0
    for rank in range(ranks):
        mine = np.flatnonzero(dealt == rank)
        local = start.clone().requires_grad_()
        for part in np.array_split(mine, micro):
            if len(part):
                share = internalization_loss(log_prob(local, part.tolist()), column[part.tolist()], dp_size=ranks)
                share.backward()
                value += float(share.detach()) / ranks
        total += local.grad / ranks
    assert value == pytest.approx(float(loss.detach()), rel=1e-12)
    assert float((total - whole.grad).norm() / whole.grad.norm()) < 1e-12


def test_loss_ignores_what_lies_outside_the_gate_even_if_it_is_not_finite():
    torch = pytest.importorskip("torch")
    log_prob = torch.tensor([[-1.0, float("-inf"), float("nan")]], requires_grad=True)
    loss = internalization_loss(log_prob, torch.tensor([[0.5, 0.0, 0.0]]))
    loss.backward()
    assert float(loss.detach()) == 0.5 and log_prob.grad.tolist() == [[-0.5, 0.0, 0.0]]
    nothing = internalization_loss(log_prob, torch.zeros(1, 3))
    nothing.backward()
    assert float(nothing.detach()) == 0.0


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(lambda_max=-1.0), "siri.internalization.lambda_max=-1.0"),
        (dict(lambda_max=float("nan")), "lambda_max=nan"),
        (dict(span="token"), "span='token': use action or response"),
        (dict(normalise="mean"), "normalise='mean'"),
        (dict(log_prob_floor=0.5), "log_prob_floor=0.5"),
        (dict(clip=0.0), "clip=0.0"),
        (dict(warmup_updates=-1), "warmup_updates=-1"),
        (dict(source="teacher"), "source='teacher'"),
        (dict(context="all"), "context='all'"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        InternalizationSettings(**options)


def test_bad_arrays_are_named():
    s, span = InternalizationSettings(), np.ones((2, 3), dtype=bool)
    with pytest.raises(ValueError, match="weight of row 1 is negative"):
        weight_column([True, True], [0.0, -0.1], span, s)
    with pytest.raises(ValueError, match="weight has 1 rows, span has 2"):
        weight_column([True, True], [1.0], span, s)
    with pytest.raises(ValueError, match=r"span has shape \(3,\)"):
        weight_column([True], [1.0], [1, 1, 1], s)
    with pytest.raises(ValueError, match="log_prob_floor=-3.0 needs plain_log_prob"):
        weight_column([True, True], [1, 1], span, InternalizationSettings(log_prob_floor=-3.0))
    with pytest.raises(ValueError, match="row 0, token 2 is NaN"):
        weight_column([True, True], [1, 1], span, s, plain_log_prob=[[-1, -1, float("nan")], [-1, -1, -1]])
    with pytest.raises(ValueError, match="normalise=all_tokens needs all_tokens"):
        weight_column([True, True], [1, 1], span, InternalizationSettings(normalise="all_tokens"))
    with pytest.raises(ValueError, match="advantage of row 1 is nan"):
        advantage_weights([0.0, float("nan")], 1.0, 1.0)
    with pytest.raises(ValueError, match="delta has 1 rows"):
        open_rows([True, True], [0.1], [True, True], s)
