# SPDX-License-Identifier: Apache-2.0
"""Every named method against its formula written out in plain torch: value and gradient."""

from __future__ import annotations

import math
import re

import pytest
import torch

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.teacher_methods import METHODS, vetted_settings
from siri_verl.core.token_teacher import token_terms
from siri_verl.failures import ConfigError

ROWS, TOKENS, VOCAB = 6, 7, 200


class Recorded:
    """Log-probabilities of a student and a teacher over a vocabulary, and the tokens sampled."""

    def __init__(self, seed: int = 0):
        rng = torch.Generator().manual_seed(seed)
        self.logits = torch.randn(ROWS, TOKENS, VOCAB, generator=rng, dtype=torch.float64).requires_grad_()
        shape = self.logits.shape
        self.teacher_all = (self.logits.detach() + torch.randn(shape, generator=rng, dtype=torch.float64)).log_softmax(
            -1
        )
        self.token = torch.randint(0, VOCAB, (ROWS, TOKENS), generator=rng)
        self.t = self.sampled(self.teacher_all)
        noise = torch.randn(ROWS, TOKENS, generator=rng, dtype=torch.float64)
        self.o = self.sampled(self.logits.detach().log_softmax(-1)) + 0.7 * noise
        self.advantage = torch.randn(ROWS, 1, generator=rng, dtype=torch.float64).expand(ROWS, TOKENS) * 2
        self.mask = torch.rand(ROWS, TOKENS, generator=rng) < 0.8
        self.action = torch.rand(ROWS, TOKENS, generator=rng) < 0.5
        self.gap = torch.tensor([-0.5, 0.0, 0.1, 0.2, 0.5, 1.0], dtype=torch.float64)
        self.group = torch.tensor([0, 0, 0, 1, 1, 1])

    def sampled(self, log_probs):
        return log_probs.gather(-1, self.token[..., None])[..., 0]

    def tops(self, settings: InternalizationSettings):
        """(student, teacher) log-probabilities of the K tokens the settings ask for."""
        student = self.logits.log_softmax(-1)
        if settings.target == "sampled":
            return None, None
        if settings.target == "full":
            return student, self.teacher_all
        whose = self.teacher_all if settings.top_k_of == "teacher" else student.detach()
        ids = whose.topk(settings.top_k, dim=-1).indices
        return student.gather(-1, ids), self.teacher_all.gather(-1, ids)

    def terms(self, method, **given):
        settings = vetted_settings(method) if isinstance(method, str) else method
        student_top, teacher_top = self.tops(settings)
        return token_terms(
            method,
            student=self.sampled(self.logits.log_softmax(-1)),
            old=self.o,
            teacher=self.t,
            advantage=self.advantage,
            mask=self.mask,
            student_top=student_top,
            teacher_top=teacher_top,
            action=self.action,
            gap=self.gap,
            group=self.group,
            **given,
        )

    def gradient(self, loss):
        """Of the sum over the mask, with respect to the student's logits."""
        (found,) = torch.autograd.grad(loss.sum(), self.logits)
        return found


def bucket(log_probs):
    return torch.cat([log_probs, (1 - log_probs.exp().sum(-1, keepdim=True)).log()], -1)


def jsd(p, q):
    m = ((p.exp() + q.exp()) / 2).log()
    return 0.5 * (q.exp() * (q - m)).sum(-1) + 0.5 * (p.exp() * (p - m)).sum(-1)


def siri(r, s):
    return -(r.advantage / 1.0).clamp(0, 2) * s


def skill_sd(r, s):
    gap = s - r.t
    return (torch.minimum(s - r.o, torch.tensor(10.0)).exp()) * ((-gap).clamp(max=20).exp() - 1 + gap)


def sdar(r, s):
    return torch.sigmoid(5 * (r.t - s)).detach() * (r.t - s)


def ucob(r, s):
    q, ids = r.teacher_all.topk(32, -1)
    p = r.logits.log_softmax(-1).gather(-1, ids)
    weight = torch.minimum(r.gap.clamp(min=0) / 0.2, torch.tensor(2.0))[:, None]
    double = torch.where(r.action, 2.0, 1.0)
    return weight * double * torch.sigmoid(5 * (r.t - s)).detach() * (q.exp() * (q - p)).sum(-1)


def sdpo(r, s):
    p, ids = r.logits.log_softmax(-1).topk(100, -1)
    q = r.teacher_all.gather(-1, ids)
    return (s - r.o).exp().clamp(max=2).detach() * jsd(bucket(p), bucket(q))


def skill_0_5(r, s):
    q, ids = r.teacher_all.topk(64, -1)
    return jsd(bucket(r.logits.log_softmax(-1).gather(-1, ids)), bucket(q))


def spear(r, s):
    ratio = (s - r.o).exp()
    clipped = ratio.clamp(1 - 0.2, 1 + 0.28)
    return -torch.minimum(ratio * r.advantage, clipped * r.advantage) * (r.advantage > 0)


LOSSES = {
    "siri": (siri, 0.1),
    "skill_sd": (skill_sd, 0.001),
    "sdar": (sdar, 0.01),
    "seed": (sdar, 0.01),
    "ucob": (ucob, 0.1),
    "sdpo": (sdpo, 1.0),
    "skill_0_5": (skill_0_5, 1.0),
    "spear": (spear, 1.0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_the_formulas(name):
    formula, coefficient = LOSSES[name]
    r = Recorded()
    terms = r.terms(name)
    expected = torch.where(r.mask, formula(r, r.sampled(r.logits.log_softmax(-1))), 0.0)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(r.gradient(terms.loss), r.gradient(expected), rtol=1e-8, atol=1e-9)
    assert terms.coefficient == coefficient and expected.abs().sum() > 1
    if name == "sdpo":
        assert not terms.advantage.any(), "its term takes the place of the policy's"
    else:
        assert torch.equal(terms.advantage, r.advantage)


def test_the_gate_of_sdar_has_no_gradient():
    r = Recorded()
    s = r.sampled(r.logits.log_softmax(-1))
    attached = torch.where(r.mask, torch.sigmoid(5 * (r.t - s)) * (r.t - s), 0.0)
    gradients = r.gradient(r.terms("sdar").loss), r.gradient(attached)
    assert (gradients[0] - gradients[1]).abs().max() > 0.1


def test_opid_adds_to_the_advantage():
    r = Recorded()
    terms = r.terms("opid")
    expected = torch.where(r.mask, r.advantage + 0.001 * (r.t - r.o), r.advantage)
    torch.testing.assert_close(terms.advantage, expected, rtol=1e-12, atol=1e-12)
    assert not terms.loss.any() and (terms.advantage != r.advantage).any()


@pytest.mark.parametrize("update, share", [(None, 0.5), (1, 0.5), (51, 0.25), (101, 0.0), (500, 0.0)])
def test_rlsd_scales_the_advantage(update, share):
    r = Recorded()
    terms = r.terms("rlsd", update=update)
    ratio = (r.advantage.sign() * (r.t - r.o)).exp().clamp(0.8, 1.2)
    expected = torch.where(r.mask, r.advantage * ((1 - share) + share * ratio), r.advantage)
    torch.testing.assert_close(terms.advantage, expected, rtol=1e-12, atol=1e-12)
    assert terms.coefficient == pytest.approx(share) and not terms.loss.any()


def test_grsd_scales_rows_of_groups_with_both_outcomes():
    r = Recorded()
    # the first group wins and loses, the second only wins
    r.advantage = torch.tensor([1.0, -1.0, 2.0, 1.0, 1.0, 0.5], dtype=torch.float64)[:, None].expand(ROWS, TOKENS)
    terms = r.terms("grsd")
    expected = r.advantage.clone()
    q = []
    for i in range(3):
        d = (r.t - r.o)[i][r.mask[i]].mean()
        q.append(math.expm1(min(max(float(r.advantage[i, 0].sign() * d), -20), 20)))
    size = sum(map(abs, q)) / 3
    for i in range(3):
        g = min(max(q[i] / size, -0.2), 0.2)
        expected[i] = torch.where(r.mask[i], r.advantage[i] * max(0.1, 1 + 0.5 * g), r.advantage[i])
    torch.testing.assert_close(terms.advantage, expected, rtol=1e-9, atol=1e-12)
    assert (expected[:3] != r.advantage[:3]).any() and torch.equal(expected[3:], r.advantage[3:])


def test_spear_rises_as_a_cosine():
    r = Recorded()
    for update, share in ((50, (1 - math.cos(math.pi / 4)) / 2), (100, 0.5), (200, 1.0), (300, 1.0)):
        assert r.terms("spear", update=update).coefficient == pytest.approx(share)


def test_every_method_is_tested_and_cites_its_source():
    assert {*LOSSES, "opid", "rlsd", "grsd"} == set(METHODS)
    for name, make in METHODS.items():
        assert re.search(r"Source:\s+\S+", make.__doc__), name


def test_an_unknown_method_is_named():
    with pytest.raises(ConfigError, match="token teacher method='sdr': use one of grsd, opid"):
        Recorded().terms(InternalizationSettings()) and vetted_settings("sdr")
