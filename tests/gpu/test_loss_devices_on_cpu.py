# SPDX-License-Identifier: Apache-2.0
"""GiGPO's policy loss and the masked distillation loss through verl's own loss, on each device: value and gradient are
those of the formulas, written here in float64 on the host."""

import numpy as np
import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.turns import read_turns
from siri_verl.training.advantages import token_advantages
from siri_verl.training.estimator import gigpo_estimator, rows_are_turns
from siri_verl.training.loss import LAMBDA, WEIGHT_COLUMN, siri_loss
from siri_verl.training.step_table import StepTable

GAMMA, CLIP, WEIGHT = 0.9, 0.2, 0.7
ALGORITHM = {"gigpo": {"gamma": GAMMA}}
PROMPTS, REPLIES = [3, 5, 2, 4, 3, 6], [4, 2, 5, 3, 4, 2]
"""Tokens of each row. Rows 0-3 are turns of two trajectories, rows 4 and 5 are there to be internalized."""
POLICY = 4


def table():
    keys = [f"task_{trajectory}_{turn}" for trajectory in range(2) for turn in range(2)]
    fields = [
        {"anchor": f"s{turn}", "turn_reward": 10.0 * (trajectory == turn == 1), "valid": True}
        for trajectory in range(2)
        for turn in range(2)
    ]
    return StepTable.build(keys, [{"is_padding": False} for _ in keys], fields)


def per_row():
    """Random numbers of every reply, float64 on the host: log-probs now and then, and the weights of two rows."""
    rng = np.random.default_rng(0)
    old = [torch.tensor(rng.uniform(-3, -0.5, size)) for size in REPLIES]
    # ratios on both sides of the clip
    new = [row + torch.tensor(rng.uniform(-0.4, 0.4, len(row))) for row in old]
    weight = [torch.zeros(size) for size in REPLIES[:POLICY]]
    weight += [
        torch.tensor(rng.uniform(0, 1, size)) * torch.tensor(rng.random(size) > 0.4) for size in REPLIES[POLICY:]
    ]
    return old, new, weight


def by_formula(old, new, weight, advantages):
    """(loss, gradient of each row's log-probs): the clipped objective over policy tokens, and the distillation term."""
    new = [row.clone().requires_grad_() for row in new]
    terms = []
    for before, now, advantage in zip(old, new, advantages, strict=False):
        ratio = torch.exp(now - before)
        terms.append(-torch.minimum(advantage * ratio, advantage * ratio.clamp(1 - CLIP, 1 + CLIP)))
    distilled = -sum((column * now).sum() for column, now in zip(weight, new, strict=True))
    loss = torch.cat(terms).mean() + WEIGHT * distilled
    loss.backward()
    return loss.item(), [row.grad for row in new]


def nested(rows, device, dtype=torch.float32):
    return torch.nested.as_nested_tensor([row.to(device, dtype) for row in rows], layout=torch.jagged)


def micro_batch(old, weight, advantages, device):
    """The columns that verl's loss reads, jagged, on the device."""
    masks = [torch.full((size,), float(i < POLICY)) for i, size in enumerate(REPLIES)]
    spread = [*(torch.full((size,), float(a)) for a, size in zip(advantages, REPLIES, strict=False))]
    spread += [torch.zeros(size) for size in REPLIES[POLICY:]]
    columns = {
        "prompts": nested([torch.ones(size) for size in PROMPTS], device, torch.long),
        "responses": nested([torch.ones(size) for size in REPLIES], device, torch.long),
        "response_mask": nested(masks, device),
        "old_log_probs": nested(old, device),
        "advantages": nested(spread, device),
        WEIGHT_COLUMN: nested(weight, device),
    }
    settings = {"dp_size": 1, "batch_num_tokens": sum(REPLIES[:POLICY]), "global_batch_size": POLICY, LAMBDA: WEIGHT}
    data = TensorDict(columns, batch_size=[len(REPLIES)])
    tu.assign_non_tensor(data, **settings)
    return data


def estimated(device):
    """What the estimator writes on the rows' tokens: (rows, 5)."""
    mask = torch.tensor([[1.0] * size + [0.0] * (5 - size) for size in REPLIES[:POLICY]], device=device)
    with rows_are_turns(token_advantages(table(), GigpoSettings(gamma=GAMMA), 5)):
        advantages, returns = gigpo_estimator(torch.zeros_like(mask), mask, config=ALGORITHM)
    assert advantages.device.type == returns.device.type == device
    assert not advantages[mask == 0].any()
    return advantages


def test_advantages_lie_where_the_mask_lies_and_are_those_of_the_formula(device):
    rows = table()
    turns = read_turns(rows.group, rows.trajectory, rows.turn, rows.anchor, rows.reward, rows.valid)
    expected = gigpo(turns, GigpoSettings(gamma=GAMMA)).total
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(estimated(device)[:, 0].cpu().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("part", ["both", "policy", "distillation"])
def test_loss_and_gradient_are_those_of_the_formulas(device, part):
    old, new, weight = per_row()
    advantages = estimated(device)[:, 0].cpu().double()
    if part == "policy":
        weight = [torch.zeros_like(row) for row in weight]
    if part == "distillation":
        advantages = torch.zeros_like(advantages)
    loss, gradients = by_formula(old, new, weight, advantages)
    assert any(row.any() for row in gradients)

    # The engine's log-probs: of whole sequences, packed, each at the place of the token before.
    log_probs = [torch.zeros(p + r) for p, r in zip(PROMPTS, REPLIES, strict=True)]
    for row, values, p, r in zip(log_probs, new, PROMPTS, REPLIES, strict=True):
        row[p - 1 : p + r - 1] = values
    packed = torch.cat(log_probs).to(device).requires_grad_()
    config = ActorConfig(
        strategy="fsdp2", rollout_n=2, ppo_mini_batch_size=2, use_dynamic_bsz=True, clip_ratio=CLIP,
        clip_ratio_low=CLIP, clip_ratio_high=CLIP, entropy_coeff=0.0, use_kl_loss=False,
    )  # fmt: skip
    found, metrics = siri_loss(config, {"log_probs": packed}, micro_batch(old, weight, advantages, device))
    assert found.device.type == device
    found.backward()
    assert found.item() == pytest.approx(loss, rel=1e-5, abs=1e-6)
    at = 0
    for p, r, expected in zip(PROMPTS, REPLIES, gradients, strict=True):
        row = packed.grad[at : at + p + r].cpu()
        torch.testing.assert_close(row[p - 1 : p + r - 1], expected.float(), rtol=1e-5, atol=1e-6)
        assert not row[: p - 1].any() and row[-1] == 0
        at += p + r
    assert ("internalization_loss" in metrics) and float(metrics["internalization_loss"].aggregate()) >= 0
