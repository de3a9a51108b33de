# SPDX-License-Identifier: Apache-2.0
"""Properties of the token teacher's terms, setting by setting."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.core.divergence import distribution_divergence, sampled_divergence
from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.token_teacher import token_terms, token_weights

SEEDS = st.integers(0, 2**32)
PLAIN = InternalizationSettings(row_weight="one", divergence="forward", span="response")
SOFT = replace(PLAIN, target="full")


def inputs(seed, rows=4, tokens=5, vocab=9):
    rng = torch.Generator().manual_seed(seed)
    made = {
        name: -3 * torch.rand(rows, tokens, generator=rng, dtype=torch.float64)
        for name in ("student", "old", "teacher")
    }
    made["advantage"] = torch.randn(rows, tokens, generator=rng, dtype=torch.float64)
    made["mask"] = torch.rand(rows, tokens, generator=rng) < 0.7
    for name in ("student_top", "teacher_top"):
        made[name] = (2 * torch.randn(rows, tokens, vocab, generator=rng, dtype=torch.float64)).log_softmax(-1)
    return made


def gradient(method, given, of="student"):
    leaf = given[of].clone().requires_grad_()
    terms = token_terms(method, **{**given, of: leaf})
    if not terms.loss.requires_grad:
        return torch.zeros_like(leaf)
    return torch.autograd.grad(terms.loss.sum(), leaf, allow_unused=True)[0]


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 3))
def test_shift_is_the_clipped_gain_of_the_teacher(seed, cap):
    x = inputs(seed)
    got = token_terms(replace(PLAIN, token_weight="shift", shift_cap=cap, divergence="nll"), **x)
    expected = torch.where(x["mask"], (x["teacher"] - x["student"]).clamp(0, cap), 0.0)
    torch.testing.assert_close(got.weight, expected)
    torch.testing.assert_close(got.loss, expected * -x["student"])


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(0.1, 20))
def test_gate_lies_between_0_and_1_and_grows_with_the_gain(seed, slope):
    x = inputs(seed)
    weight = token_terms(replace(PLAIN, token_weight="gate", gate_slope=slope), **x).weight[x["mask"]]
    gain = (x["teacher"] - x["student"])[x["mask"]]
    assert ((weight >= 0) & (weight <= 1)).all()
    assert (weight[gain.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("token_weight", ["one", "shift", "gate"])
@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_token_weights_have_no_gradient(token_weight, seed):
    x = inputs(seed)
    s = replace(PLAIN, token_weight=token_weight)
    torch.testing.assert_close(gradient(s, x), -token_terms(s, **x).weight)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["nll", "forward", "k3"]), st.floats(0.5, 3))
def test_the_ratio_is_capped_and_detached_unless_asked_for(seed, divergence, cap):
    x = inputs(seed)
    bare, capped = replace(PLAIN, divergence=divergence), replace(PLAIN, divergence=divergence, ratio_cap=cap)
    ratio = (x["student"] - x["old"]).exp().clamp(max=cap)
    torch.testing.assert_close(token_terms(capped, **x).loss, ratio * token_terms(bare, **x).loss)
    torch.testing.assert_close(gradient(capped, x), ratio * gradient(bare, x))
    through = gradient(replace(capped, ratio_detached=False), x)
    inside = ((x["student"] - x["old"]).exp() < cap).double() * ratio * token_terms(bare, **x).loss
    torch.testing.assert_close(through, ratio * gradient(bare, x) + inside)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_sampled_divergences_agree_where_teacher_and_student_do(seed):
    x = inputs(seed)
    for name in ("forward", "reverse", "k3"):
        assert not sampled_divergence(name, x["teacher"], x["teacher"]).any()
    assert (sampled_divergence("k3", x["student"], x["teacher"]) >= 0).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["forward", "reverse", "jsd"]))
def test_divergences_of_distributions_are_0_only_where_they_agree(seed, name):
    x = inputs(seed)
    assert (distribution_divergence(name, x["student_top"], x["teacher_top"]) > 0).all()
    assert distribution_divergence(name, x["teacher_top"], x["teacher_top"]).abs().max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_jsd_is_symmetric_and_at_most_log_2(seed):
    x = inputs(seed)
    one = distribution_divergence("jsd", x["student_top"], x["teacher_top"])
    torch.testing.assert_close(one, distribution_divergence("jsd", x["teacher_top"], x["student_top"]))
    assert (one <= math.log(2)).all()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["forward", "reverse", "jsd"]), st.booleans())
def test_top_k_of_the_whole_vocabulary_is_the_full_target(seed, name, single):
    x = inputs(seed)
    if single:  # tails are rounding errors of float32
        x = {key: value.float() if value.is_floating_point() else value for key, value in x.items()}
    full, top = replace(SOFT, divergence=name), replace(SOFT, divergence=name, target="top_k", top_k=9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    shuffled = {**x, "student_top": x["student_top"][..., order], "teacher_top": x["teacher_top"][..., order]}
    close = {"rtol": 1e-5, "atol": 2e-6} if single else {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(token_terms(top, **shuffled).loss, token_terms(full, **x).loss, **close)
    found = gradient(top, shuffled, "student_top"), gradient(full, x, "student_top")[..., order]
    torch.testing.assert_close(*found, **close)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 8), st.sampled_from(["forward", "reverse", "jsd"]))
def test_a_tail_bucket_never_adds_to_the_divergence(seed, k, name):
    # joining outcomes loses information (data processing inequality)
    x = inputs(seed)
    ids = x["teacher_top"].topk(k, -1).indices
    cut = {**x, **{n: x[n].gather(-1, ids) for n in ("student_top", "teacher_top")}}
    full = token_terms(replace(SOFT, divergence=name), **x).loss
    assert (token_terms(replace(SOFT, divergence=name, target="top_k", top_k=k), **cut).loss <= full + 1e-9).all()


def test_a_masked_vocabulary_gives_finite_gradients():
    x = inputs(0)
    for name in ("student_top", "teacher_top"):
        x[name][..., -1] = -math.inf
    for name in ("forward", "reverse", "jsd"):
        found = gradient(replace(SOFT, divergence=name), x, "student_top")
        assert torch.isfinite(found).all() and found.any()


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.floats(1.5, 4))
def test_action_tokens_count_more(seed, factor):
    x = inputs(seed)
    action = torch.rand(x["mask"].shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    got = token_terms(replace(PLAIN, action_factor=factor), **x, action=action).loss
    torch.testing.assert_close(got, token_terms(PLAIN, **x).loss * torch.where(action, factor, 1.0))


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from([None, 0.5, 3.0]), st.sampled_from([None, 0.7]))
def test_row_weights(seed, scale, clip):
    x = inputs(seed)
    advantage = InternalizationSettings(scale=scale, clip=clip)
    got = token_terms(advantage, **x, norm="mean", success_reward=10.0).weight
    expected = (x["advantage"] / (scale or 10.0)).clamp(0, clip or 1.0)
    torch.testing.assert_close(got, torch.where(x["mask"], expected, 0.0))
    gap = torch.tensor([-1.0, 0.0, 0.1, 5.0], dtype=torch.float64)
    got = token_terms(InternalizationSettings(row_weight="gap"), **x, gap=gap).weight
    expected = torch.tensor([0.0, 0.0, 0.5, 2.0], dtype=torch.float64)[:, None].expand(4, 5)
    torch.testing.assert_close(got, torch.where(x["mask"], expected, 0.0))
    for ones in (replace(PLAIN), InternalizationSettings(advantage_weights=False)):
        assert torch.equal(token_terms(ones, **x).weight, x["mask"].double())


@pytest.mark.parametrize("role", ["loss", "advantage_term", "advantage_factor"])
def test_values_outside_the_mask_do_not_matter(role):
    on_own = {"rows": "plain_under_skill", "divergence": "reverse"} if role != "loss" else {}
    s = replace(PLAIN, role=role, **on_own)
    x = inputs(3)
    broken = {n: torch.where(x["mask"], x[n], torch.nan) for n in ("student", "old", "teacher")}
    clean, found = token_terms(s, **x), token_terms(s, **{**x, **broken})
    for name in ("loss", "advantage", "weight"):
        assert torch.equal(getattr(clean, name), getattr(found, name)), name
    assert torch.isfinite(gradient(s, {**x, **broken})).all()
    assert not clean.loss[~x["mask"]].any() and torch.equal(clean.advantage[~x["mask"]], x["advantage"][~x["mask"]])


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(["token", "row"]), st.floats(0.05, 0.9))
def test_a_factor_keeps_the_advantages_sign_and_stays_near_it(seed, level, edge):
    x = inputs(seed)
    x["advantage"] = x["advantage"][:, :1]
    s = InternalizationSettings(
        lambda_max=0.5, rows="plain_under_skill", divergence="reverse", role="advantage_factor", factor_level=level,
        factor_clip=edge,
    )  # fmt: skip
    got = token_terms(s, **x).advantage
    ratio = (got / x["advantage"])[x["mask"]]
    assert ((ratio >= 1 - 0.5 * edge - 1e-9) & (ratio <= 1 + 0.5 * edge + 1e-9)).all()


def test_lambda_warms_up_and_decays():
    s = InternalizationSettings(lambda_max=1.0, warmup_updates=2, decay_updates=4)
    assert [s.lambda_at(k) for k in range(1, 9)] == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize(
    "options, given, message",
    [
        ({"target": "top_k", "divergence": "forward"}, {"teacher_top": None}, "target=top_k needs `student_top`"),
        ({"row_weight": "gap"}, {}, "row_weight=gap needs `gap`"),
        ({"action_factor": 2.0, "span": "response"}, {}, "action_factor=2.0 needs `action`"),
        ({}, {"old": torch.zeros(2, 2)}, r"old has shape \(2, 2\), student \(4, 5\)"),
        ({"target": "full", "divergence": "forward"}, {"teacher_top": torch.zeros(4, 5, 2)}, "teacher_top .4, 5, 2."),
    ],
)
def test_missing_arguments_are_named(options, given, message):
    with pytest.raises(ValueError, match=message):
        token_terms(InternalizationSettings(**options), **{**inputs(0), **given})


def half(student, teacher):
    return torch.full_like(student, 0.5)


def negative(student, teacher):
    return student


def test_token_weights_may_be_a_function_of_the_users(monkeypatch):
    monkeypatch.setitem(sys.modules, "my_weights", SimpleNamespace(half=half, negative=negative))
    s, t = torch.randn(2, 3).double().requires_grad_(), torch.randn(2, 3).double()
    weights = token_weights(InternalizationSettings(token_weight="my_weights:half"), s, t)
    assert weights.tolist() == [[0.5] * 3] * 2 and not weights.requires_grad
    with pytest.raises(ValueError, match="token_weight='my_weights:negative': returned shape .2, 3. and least"):
        token_weights(InternalizationSettings(token_weight="my_weights:negative"), -s.abs() - 1, t)
