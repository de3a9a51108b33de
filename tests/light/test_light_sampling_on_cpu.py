# SPDX-License-Identifier: Apache-2.0
"""Drawing tokens: the distribution, the cuts, the random numbers, and the reading of parameters."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.light.sampling import SamplingParams, sample, seed_bits, uniforms

VOCAB = 12


def draw(logits: torch.Tensor, n: int, valid_vocab: int = VOCAB, **params):
    """n draws from one row of logits: token ids and log-probs."""
    rows = [SamplingParams(seed=seed_bits(i), **params) for i in range(n)]
    return sample(logits.expand(n, -1), rows, np.full(n, 7), valid_vocab)


def test_draws_follow_the_tempered_softmax():
    logits = torch.linspace(-1, 2, VOCAB)
    n, temperature = 40_000, 0.7
    tokens, log_probs = draw(logits, n, temperature=temperature)
    expected = torch.softmax(logits / temperature, -1)
    found = torch.bincount(tokens, minlength=VOCAB) / n
    # four standard errors
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / n).sqrt()).all()
    assert torch.allclose(log_probs, expected.log()[tokens], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    # A grid: two logits closer than float32 can tell apart have no order to test.
    logits=st.lists(st.integers(-40, 40).map(lambda n: n / 10), min_size=VOCAB, max_size=VOCAB, unique=True),
    top_k=st.integers(1, VOCAB + 3),
    top_p=st.floats(0.05, 1.0),
    temperature=st.floats(0.3, 2.0),
)
def test_cut_off_tokens_are_never_drawn(logits, top_k, top_p, temperature):
    row = torch.tensor(logits)
    tokens, log_probs = draw(row, 300, top_k=top_k, top_p=top_p, temperature=temperature)
    probs = torch.softmax(row.double() / temperature, -1)
    order = probs.argsort(descending=True)[:top_k]
    kept = probs[order] / probs[order].sum()
    before = kept.cumsum(0) - kept
    allowed = set(order[before < top_p + 1e-6].tolist())
    assert set(tokens.tolist()) <= allowed
    # what is reported is the whole softmax: the actor knows nothing of the cuts
    assert torch.allclose(log_probs.double(), probs.log()[tokens], atol=1e-4)


def test_each_row_has_its_own_parameters():
    logits = torch.randn(4, VOCAB, generator=torch.Generator().manual_seed(0))
    params = [
        SamplingParams(temperature=0.0, seed=1),
        SamplingParams(top_k=1, seed=2),
        SamplingParams(top_p=1e-6, seed=3),
        SamplingParams(temperature=1.0, seed=4),
    ]
    together, _ = sample(logits, params, np.array([3, 4, 5, 6]), VOCAB)
    assert together[:3].tolist() == logits[:3].argmax(-1).tolist()
    for i in range(4):
        alone, _ = sample(logits[i : i + 1], params[i : i + 1], np.array([3 + i]), VOCAB)
        assert alone.item() == together[i].item()


def test_padded_ids_are_never_drawn_but_count_in_the_log_prob():
    logits = torch.zeros(VOCAB)
    logits[8:] = 5.0
    tokens, log_probs = draw(logits, 500, valid_vocab=8)
    assert tokens.max() < 8 and len(tokens.unique()) == 8
    assert torch.allclose(log_probs, torch.log_softmax(logits, -1)[tokens])
    greedy, _ = draw(logits, 1, valid_vocab=8, temperature=0.0)
    assert greedy.item() < 8


def test_random_numbers_are_uniform_and_unrelated_between_seeds_and_positions():
    seeds = np.array([seed_bits(i) for i in range(200)], dtype=np.uint64)
    table = np.stack([uniforms(seeds, np.full(200, p, dtype=np.uint64)) for p in range(200)])  # (positions, seeds)
    assert 0 <= table.min() and table.max() < 1
    counts, _ = np.histogram(table, bins=20, range=(0, 1))
    assert ((counts - 2000) ** 2 / 2000).sum() < 45  # chi square with 19 degrees of freedom, p = 0.0007
    for other in (np.roll(table, 1, axis=0), np.roll(table, 1, axis=1)):
        assert abs(np.corrcoef(table.ravel(), other.ravel())[0, 1]) < 0.02
    assert len(np.unique(table)) == table.size


@given(st.integers(-(10**30), 10**30))
def test_any_integer_is_a_seed(seed):
    assert 0 <= seed_bits(seed) < 2**64
    assert seed_bits(seed) == SamplingParams.from_mapping({"seed": seed}).seed


def test_verls_own_parameters_are_read():
    read = SamplingParams.from_mapping(
        {
            "temperature": 0.6,
            "top_p": 0.9,
            "top_k": -1,
            "repetition_penalty": 1.0,
            "logprobs": True,
            "max_new_tokens": 5,
        }
    )
    assert (read.temperature, read.top_p, read.top_k, read.max_tokens, read.logprobs) == (0.6, 0.9, -1, 5, True)
    assert SamplingParams.from_mapping({"logprobs": 0}).logprobs  # vLLM's 0: of the drawn token alone
    assert not SamplingParams.from_mapping({"logprobs": None}).logprobs
    assert SamplingParams.from_mapping({"stop": "x"}).stop == ("x",)
    assert SamplingParams.from_mapping({"prompt_logprobs": 0, "detokenize": False}).prompt_logprobs == 0
    assert SamplingParams.from_mapping({}).prompt_logprobs is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"temperature": -1}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_p": 0}, "top_p=0.0"),
        ({"top_p": 1.5}, "top_p=1.5"),
        ({"top_k": -2}, "top_k=-2"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"stop": [""]}, "stop="),
        ({"prompt_logprobs": -1}, "prompt_logprobs=-1"),
        ({"repetition_penalty": 1.2}, "repetition_penalty=1.2"),
        ({"beam_width": 3, "n": 2}, r"\['beam_width', 'n'\] are unknown.*temperature"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    with pytest.raises(ValueError, match=message):
        SamplingParams.from_mapping(params)
