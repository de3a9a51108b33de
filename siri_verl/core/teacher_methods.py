# SPDX-License-Identifier: Apache-2.0
"""Published methods as settings of the token teacher, with the values their code uses.

Formulas are per token, with s, o, t and A of siri_verl/core/token_teacher.py. Each names the repository and the commit
that was read. What a method does beside its token term (how skills are written, which tasks are drawn, how the teacher
is kept) is not part of these settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.failures import check_one_of

METHODS: dict[str, Callable[[], InternalizationSettings]] = {}
"""Name -> its settings."""


def _register(make: Callable[[], InternalizationSettings]) -> Callable[[], InternalizationSettings]:
    METHODS[make.__name__] = make
    return make


def vetted_settings(name: str) -> InternalizationSettings:
    """The settings of a method.

    Raises:
        ConfigError: no such method.
    """
    check_one_of("token teacher method", name, sorted(METHODS))
    return METHODS[name]()


@_register
def siri() -> InternalizationSettings:
    """SIRI: -clip(A / scale, 0, clip) * s on action tokens of the skill arm, scored on the plain prompt, where the
    skill helped (Delta > 0). lambda rises linearly. Source: arXiv 2606.02355; the paper's code was not available."""
    return InternalizationSettings()


@_register
def skill_sd() -> InternalizationSettings:
    """Skill-SD: rho * k3 with l = s - t, k3 = exp(min(-l, 20)) - 1 + l, rho = exp(min(s - o, 10)), through which the
    gradient passes; coefficient 0.001. Source: ZJU-REAL/SDAR 8b85c23."""
    return _on_own_tokens(
        lambda_max=0.001, divergence="k3", ratio_cap=math.exp(10), ratio_detached=False, normalise="all_tokens"
    )


@_register
def opid() -> InternalizationSettings:
    """OPID: A + 0.001 * (t - o), without normalisation or clip of the term. Source: jinyangwu/OPID 37a15a5."""
    return _on_own_tokens(lambda_max=0.001, role="advantage_term", divergence="reverse")


@_register
def sdar() -> InternalizationSettings:
    """SDAR: sigmoid(5 (t - s)) * (t - s), the gate without gradient; coefficient 0.01. No gradient passes through t: on
    the policy's own samples only relative gates act. Source: ZJU-REAL/SDAR 8b85c23."""
    return _on_own_tokens(lambda_max=0.01, divergence="forward", token_weight="gate", normalise="all_tokens")


@_register
def seed() -> InternalizationSettings:
    """SEED: SDAR's term, with t under a skill that the policy wrote in hindsight. Source: Evolve 78a70b5."""
    return sdar()


@_register
def rlsd() -> InternalizationSettings:
    """RLSD: A * ((1 - l) + l * clip(exp(sign(A) (t - o)), 0.8, 1.2)); l = 0.5, falling to 0 over 100 updates. Source:
    ZJU-REAL/SDAR 8b85c23."""
    return _on_own_tokens(lambda_max=0.5, decay_updates=100, role="advantage_factor", divergence="reverse")


@_register
def grsd() -> InternalizationSettings:
    """GRSD: A * max(0.1, 1 + 0.5 g) in groups with both outcomes; d = mean of t - o over the row,
    q = expm1(clip(sign(A) d, -20, 20)), g = clip(q / mean |q| of the group, -0.2, 0.2). Source: GRSD 393213a."""
    return _on_own_tokens(lambda_max=0.5, role="advantage_factor", factor_level="row", divergence="reverse")


@_register
def ucob() -> InternalizationSettings:
    """UCOB: min(gap / 0.2, 2) * sigmoid(5 (t - s)) * sum over the teacher's 32 most likely tokens of q (log q - log p);
    action tokens count double; coefficient 0.1. There the gap is between returns-to-go of the two prompts at one
    anchor; here it is Delta of the group. Source: UCOB d38292c."""
    return InternalizationSettings(
        lambda_max=0.1,
        warmup_updates=0,
        rows="both",
        target="top_k",
        top_k=32,
        tail=False,
        divergence="forward",
        span="response",
        action_factor=2.0,
        token_weight="gate",
        row_weight="gap",
        normalise="all_tokens",
    )


@_register
def sdpo() -> InternalizationSettings:
    """SDPO: min(exp(s - o), 2) * JSD (alpha 0.5) over the student's 100 most likely tokens and a tail; it replaces the
    policy term. There the teacher is an average of past weights (0.05); here it is the policy before the update.
    Source: lasgroup/SDPO 0e6d510."""
    return _on_own_tokens(
        lambda_max=1.0,
        replaces_policy=True,
        target="top_k",
        top_k=100,
        top_k_of="student",
        divergence="jsd",
        ratio_cap=2.0,
        normalise="all_tokens",
    )


@_register
def skill_0_5() -> InternalizationSettings:
    """Skill0.5, hard tier: JSD over 64 tokens and a tail, over the whole replies of successes with a skill, in groups
    whose plain arm solved nothing, on the plain prompt; coefficient 1, in an optimizer step of its own. Source:
    JasonZhujp/Skill0_5 759e0cb."""
    return InternalizationSettings(
        lambda_max=1.0,
        warmup_updates=0,
        target="top_k",
        top_k=64,
        divergence="jsd",
        span="response",
        row_weight="one",
        steps=1,
        source="hard_tasks",
    )


@_register
def spear() -> InternalizationSettings:
    """SPEAR, its self-imitation: -A' * min(exp(s - o), 1.28), PPO's clipped term of positive advantages, on replies of
    A > 0 at most 5 iterations old, in optimizer steps of their own; A' is the return minus the median of the last
    10,240 group means, and o is of when the reply was sampled. The coefficient is (1 - cos(pi k / 200)) / 2 up to
    k = 200. How many rows are replayed in an iteration (256) is this project's choice: there a buffer of 2,048 rows is
    learned whenever it is full. Source: TencentYoutuResearch/SPEAR 7e84315."""
    return InternalizationSettings(
        lambda_max=1.0,
        warmup_updates=200,
        warmup_shape="cosine",
        source="positive_advantage",
        span="response",
        divergence="surrogate",
        row_weight="return",
        scale=1.0,
        clip=math.inf,
        ratio_cap=1.28,
        ratio_detached=False,
        steps=1,
        replay=256,
        replay_steps=5,
    )


def _on_own_tokens(**values: object) -> InternalizationSettings:
    """Settings of methods that score whole plain replies under the skill, without gate, row weights or warm-up."""
    common = {"rows": "plain_under_skill", "span": "response", "row_weight": "one", "gate": False, "warmup_updates": 0}
    return InternalizationSettings(**{**common, **values})  # type: ignore[arg-type]
