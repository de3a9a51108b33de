# SPDX-License-Identifier: Apache-2.0
"""verl's FSDP2 engines on the CPU: one worker, two workers and plain transformers agree."""

import pytest
import torch
import torch.nn.functional as F
from support.engine_rows import TEMPERATURE
from transformers import AutoModelForCausalLM


def flat(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([gradients[name].double().flatten() for name in sorted(gradients)])


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / a.norm())


def responses_of(log_probs: torch.Tensor, row: dict) -> torch.Tensor:
    """verl's engine gives at each token the log-prob of the next one; the last has none."""
    return log_probs[len(row["prompts"]) - 1 : -1]


@pytest.fixture(scope="module")
def plain(engine_folder):
    return AutoModelForCausalLM.from_pretrained(engine_folder / "model", dtype=torch.float32)


def plain_log_probs(model, row) -> torch.Tensor:
    logits = model(row["input_ids"][None]).logits[0] / TEMPERATURE
    every = torch.log_softmax(logits[:-1], -1).gather(-1, row["input_ids"][1:, None])[:, 0]
    return every[len(row["prompts"]) - 1 :]


def test_two_workers_compute_the_gradient_of_one(one_worker, two_workers):
    for name in ("gradients", "value_gradients"):
        one = flat(one_worker[0][name])
        for result in two_workers:
            assert relative(one, flat(result[name])) < 1e-5
        assert torch.isfinite(one).all() and one.norm() > 0.1


def test_gradient_is_that_of_the_ppo_loss_in_plain_transformers(one_worker, rows, plain):
    # clip 0.2, dual clip 3, token mean: verl's defaults
    loss, tokens = 0.0, sum(int(row["loss_mask"].sum()) for row in rows)
    clipped = 0
    for row in rows:
        ratio = (plain_log_probs(plain, row) - row["old_log_probs"]).exp()
        advantage = row["advantages"]
        worst = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2))
        worst = torch.where(advantage < 0, torch.minimum(worst, -3.0 * advantage), worst)
        loss = loss + (worst * row["loss_mask"]).sum() / tokens
        clipped += int(((ratio - 1).abs() > 0.2).sum())
    assert clipped > 5
    plain.zero_grad()
    loss.backward()
    ours = one_worker[0]["gradients"]
    theirs = {name: p.grad for name, p in plain.named_parameters()}
    assert set(ours) == set(theirs)
    assert relative(flat(theirs), flat(ours)) < 1e-5


def test_log_probs_equal_plain_transformers_and_the_light_server(one_worker, two_workers, rows, plain):
    for i, row in enumerate(rows):
        ours = responses_of(one_worker[0]["log_probs"][i], row)
        with torch.no_grad():
            assert (ours - plain_log_probs(plain, row)).abs().max() < 1e-5
        assert (ours - row["rollout_log_probs"]).abs().max() < 1e-4
        split = responses_of(two_workers[i % 2]["log_probs"][i // 2], row)
        assert (ours - split).abs().max() < 1e-5


def test_entropy_is_that_of_the_tempered_softmax(one_worker, rows, plain):
    for i, row in enumerate(rows):
        with torch.no_grad():
            logits = plain(row["input_ids"][None]).logits[0] / TEMPERATURE
        expected = torch.distributions.Categorical(logits=logits).entropy()
        assert (one_worker[0]["entropy"][i] - expected).abs().max() < 1e-4


def test_reference_model_runs_forward_only_without_pinned_memory(one_worker, two_workers, rows):
    for result in one_worker + two_workers:
        assert result["reference_is_forward_only"]
    for i, row in enumerate(rows):
        ours = responses_of(one_worker[0]["log_probs"][i], row)
        theirs = responses_of(one_worker[0]["reference_log_probs"][i], row)
        assert (ours - theirs).abs().max() < 1e-6


def test_critic_gives_one_value_per_token(one_worker, two_workers, rows):
    for i, row in enumerate(rows):
        values = one_worker[0]["values"][i]
        assert values.shape == row["input_ids"].shape
        assert (values - two_workers[i % 2]["values"][i // 2]).abs().max() < 1e-5
    assert torch.cat(one_worker[0]["values"]).std() > 0


def test_weights_for_the_server_are_whole_and_named_as_in_transformers(two_workers, plain):
    expected = plain.state_dict()
    for result in two_workers:
        assert set(result["weights"]) == set(expected)
        for name, tensor in result["weights"].items():
            assert torch.equal(tensor, expected[name])


def test_packed_attention_equals_padded_attention_and_keeps_sequences_apart():
    from siri_verl.platform.attention import packed_attention

    rng = torch.Generator().manual_seed(0)
    lengths = [1, 7, 3]
    q = torch.randn(1, 4, sum(lengths), 8, generator=rng, requires_grad=True)
    k, v = (torch.randn(1, 2, sum(lengths), 8, generator=rng) for _ in range(2))
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    out, _ = packed_attention(None, q, k, v, None, scaling=0.3, position_ids=positions)
    start = 0
    for n in lengths:
        alone = [t[:, :, start : start + n] for t in (q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))]
        expected = F.scaled_dot_product_attention(*alone, is_causal=True, scale=0.3)
        assert torch.allclose(out[:, start : start + n], expected.transpose(1, 2), atol=1e-6)
        start += n
    (gradient,) = torch.autograd.grad(out[:, 1:8].sum(), q)
    assert gradient[:, :, 1:8].abs().sum() > 0
    assert gradient[:, :, :1].abs().sum() == 0 and gradient[:, :, 8:].abs().sum() == 0


@pytest.mark.parametrize(
    ("positions", "message"),
    [([[1, 2, 3]], "expected 0"), ([[0, 1], [0, 1]], "one row"), (None, "use_remove_padding")],
)
def test_packed_attention_refuses_other_layouts(positions, message):
    from siri_verl.platform.attention import packed_attention

    t = torch.zeros(1, 2, 3, 8)
    positions = None if positions is None else torch.tensor(positions)
    with pytest.raises(ValueError, match=message):
        packed_attention(torch.nn.Identity(), t, t, t, None, position_ids=positions)


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"strategy": "fsdp"}, "strategy=fsdp2"), ({"strategy": "fsdp2", "param_offload": True}, "param_offload")],
)
def test_settings_a_cpu_cannot_have_are_refused(setting, message):
    from verl.workers.config import FSDPEngineConfig

    from siri_verl.platform.engine import CpuFsdpEngineWithLMHead

    with pytest.raises(ValueError, match=message):
        CpuFsdpEngineWithLMHead(None, FSDPEngineConfig(**setting), None, None)
