# SPDX-License-Identifier: Apache-2.0
"""The light engine against plain transformers: log-probs, seeding, abort, weights, prefixes."""

import numpy as np
import pytest
import torch
from support.tiny_model import make_tiny_model, make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams

VOCAB = 259


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"), layers=3)


@pytest.fixture(scope="module")
def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture
def make_engine(folder):
    made = []

    def make(prefix_cache_bytes: int = 0, prefill_tokens: int = 64, eos=(), **options) -> LightEngine:
        model = load_model(AutoConfig.from_pretrained(folder), str(folder), torch.float32)
        light = LightModel(model, prefill_tokens, prefix_cache_bytes)
        options = {"max_model_len": 256, "valid_vocab": VOCAB, **options}
        engine = LightEngine(light, decode=make_tokenizer().decode, eos_token_ids=eos, **options)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def prompts(n: int, seed: int = 0, longest: int = 40) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCAB, rng.integers(1, longest)).tolist() for _ in range(n)]


def ask(engine, prompt, name="r", **params):
    return engine.submit(name, prompt, SamplingParams.from_mapping({"max_tokens": 12, "logprobs": True, **params}))


def plain_log_probs(model, prompt: list[int], reply: list[int], temperature: float) -> torch.Tensor:
    ids = torch.tensor([prompt + reply])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(reply)[:, None])[:, 0]


@pytest.mark.parametrize("temperature", [0.4, 1.0])
@pytest.mark.parametrize("cache", [0, 1 << 20])
def test_log_probs_are_those_of_the_whole_sequence_in_plain_transformers(make_engine, plain, temperature, cache):
    engine = make_engine(prefix_cache_bytes=cache)
    asked = prompts(20) + prompts(4)  # the last four repeat: once in the batch, once from the cache
    pending = [ask(engine, p, temperature=temperature, seed=i, max_tokens=5 + i) for i, p in enumerate(asked)]
    for prompt, future in zip(asked, pending, strict=True):
        done = future.result(timeout=60)
        expected = plain_log_probs(plain, prompt, done.token_ids, temperature)
        assert (torch.tensor(done.log_probs) - expected).abs().max() < 1e-4
        assert done.reason == "length"


@pytest.mark.parametrize("temperature", [0.0, 0.4])
@pytest.mark.parametrize("columns", [0, 1, 7, VOCAB])
def test_a_given_text_is_scored_with_its_most_likely_tokens(make_engine, plain, temperature, columns):
    engine = make_engine(prefix_cache_bytes=1 << 20)
    asked = prompts(9) + prompts(2)
    other = ask(engine, asked[3], max_tokens=30, seed=1)  # of another kind, in the same batch
    pending = [ask(engine, p, temperature=temperature, max_tokens=1, prompt_logprobs=columns) for p in asked]
    for prompt, future in zip(asked, pending, strict=True):
        ids, values = (torch.tensor(part) for part in future.result(timeout=60).prompt_scores)
        assert ids.shape == values.shape == (len(prompt), max(columns, 1))
        assert not ids[-1].any() and not values[-1].any()
        with torch.no_grad():
            scores = torch.log_softmax(plain(torch.tensor([prompt])).logits[0, :-1] / (temperature or 1.0), -1)
        assert torch.allclose(values[:-1], scores.gather(-1, ids[:-1]), atol=1e-4)
        expected = scores.topk(columns).values if columns else scores.gather(-1, torch.tensor(prompt[1:])[:, None])
        assert torch.allclose(values[:-1], expected, atol=1e-4)
    done = other.result(timeout=60)
    assert done.prompt_scores is None, "not asked for"
    expected = plain_log_probs(plain, asked[3], done.token_ids, 1.0)
    assert (torch.tensor(done.log_probs) - expected).abs().max() < 1e-4


def test_greedy_tokens_are_the_most_likely_ones(make_engine, plain):
    engine = make_engine()
    asked = prompts(6, seed=3)
    for prompt, future in [(p, ask(engine, p, temperature=0)) for p in asked]:
        done = future.result(timeout=60)
        ids = torch.tensor([prompt + done.token_ids])
        with torch.no_grad():
            best = plain(ids).logits[0, len(prompt) - 1 : -1].argmax(-1)
        assert best.tolist() == done.token_ids


def test_a_seeded_request_gives_the_same_tokens_whatever_it_is_batched_with(make_engine):
    asked = prompts(24, seed=1)
    crowd = make_engine(max_running=16)  # eight of them wait and join later
    together = [ask(crowd, p, seed=i, max_tokens=20) for i, p in enumerate(asked)]
    alone = make_engine(prefix_cache_bytes=1 << 20)
    for i, prompt in reversed(list(enumerate(asked))):
        single = ask(alone, prompt, seed=i, max_tokens=20).result(timeout=60)
        assert single.token_ids == together[i].result(timeout=60).token_ids


def test_other_seeds_and_no_seed_give_other_tokens(make_engine):
    engine = make_engine()
    prompt = prompts(1)[0]
    params = [{"seed": 1}, {"seed": 2}, {}, {}]
    replies = {tuple(ask(engine, prompt, **p).result(timeout=60).token_ids) for p in params}
    assert len(replies) == 4


def test_aborted_requests_keep_their_tokens_and_go_on_as_if_never_stopped(make_engine):
    engine = make_engine()
    prompt = prompts(1)[0]
    whole = ask(engine, prompt, seed=7, max_tokens=200).result(timeout=60).token_ids
    future = ask(engine, prompt, "first", seed=7, max_tokens=200)
    other = ask(engine, prompt, "second", seed=7, max_tokens=200)
    while engine.abort(["first"]) == 0:
        pass
    part = future.result(timeout=60)
    assert part.reason == "aborted" and part.token_ids == whole[: len(part.token_ids)]
    assert len(part.token_ids) == len(part.log_probs) < 200
    rest = ask(engine, prompt + part.token_ids, seed=7, max_tokens=200 - len(part.token_ids)).result(timeout=60)
    assert part.token_ids + rest.token_ids == whole
    assert other.result(timeout=60).token_ids == whole  # its neighbour's end did not touch it


def test_abort_without_names_ends_everything(make_engine):
    engine = make_engine(max_running=2)
    pending = [ask(engine, p, str(i), max_tokens=200) for i, p in enumerate(prompts(6))]
    assert engine.abort() == 6 and engine.pending() == 0
    assert {f.result(timeout=60).reason for f in pending} == {"aborted"}


def test_weight_update_changes_outputs_and_the_reported_version(make_engine, plain, tmp_path):
    engine = make_engine(prefix_cache_bytes=1 << 20)
    engine.version = 1
    prompt = prompts(1, seed=5, longest=60)[0] * 2
    before = ask(engine, prompt, temperature=0).result(timeout=60)
    other = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path, layers=3, seed=9), dtype=torch.float32)
    engine.update_weights(other.state_dict().items(), version=2)
    after = ask(engine, prompt, temperature=0).result(timeout=60)
    assert after.token_ids != before.token_ids
    assert (before.first_version, before.last_version, after.first_version) == (1, 1, 2)
    expected = plain_log_probs(other, prompt, after.token_ids, 1.0)
    assert (torch.tensor(after.log_probs) - expected).abs().max() < 1e-4  # no key or value of the old weights is left


def test_a_reply_across_a_weight_update_names_both_versions(make_engine, plain):
    engine = make_engine()
    engine.version = 4
    future = ask(engine, prompts(1)[0], max_tokens=200)
    while not engine._rows:
        pass
    engine.update_weights(plain.state_dict().items(), version=5)
    done = future.result(timeout=60)
    assert (done.first_version, done.last_version) == (4, 5)


def test_weight_update_names_what_is_wrong(make_engine, plain):
    engine = make_engine()
    state = dict(plain.state_dict())
    with pytest.raises(KeyError, match="model.nothing"):
        engine.update_weights([("model.nothing", torch.zeros(1))])
    with pytest.raises(ValueError, match="model.norm.weight.*shape"):
        engine.update_weights([("model.norm.weight", torch.zeros(1))])
    state.pop("model.norm.weight")
    with pytest.raises(ValueError, match="without.*model.norm.weight"):
        engine.update_weights(state.items())


def test_replies_end_at_the_end_token_unless_told_otherwise(make_engine):
    free = make_engine()
    prompt = prompts(1)[0]
    tokens = ask(free, prompt, seed=3, max_tokens=30).result(timeout=60).token_ids
    end = tokens[10]
    first = tokens.index(end)
    engine = make_engine(eos=[end])
    done = ask(engine, prompt, seed=3, max_tokens=30).result(timeout=60)
    assert done.token_ids == tokens[: first + 1] and done.reason == "stop"
    assert ask(engine, prompt, seed=3, max_tokens=30, ignore_eos=True).result(timeout=60).token_ids == tokens
    done = ask(free, prompt, seed=3, max_tokens=30, stop_token_ids=[end]).result(timeout=60)
    assert done.token_ids == tokens[: first + 1] and done.reason == "stop"


def test_replies_end_with_the_token_that_completes_a_stop_string(make_engine):
    engine = make_engine()
    tokenizer = make_tokenizer()
    prompt = prompts(1, seed=8)[0]
    tokens = ask(engine, prompt, seed=5, max_tokens=60).result(timeout=60).token_ids
    text = tokenizer.decode(tokens)
    stop = next(text[k : k + 3] for k in range(20, len(text) - 3) if text[k : k + 3].isascii())
    done = ask(engine, prompt, seed=5, max_tokens=60, stop=["never said", stop]).result(timeout=60)
    assert done.reason == "stop" and done.token_ids == tokens[: len(done.token_ids)]
    assert stop in tokenizer.decode(done.token_ids) and stop not in tokenizer.decode(done.token_ids[:-1])


def test_padding_of_the_vocabulary_is_never_drawn(tmp_path):
    folder = make_tiny_model(tmp_path, extra_vocab=400)
    model = load_model(AutoConfig.from_pretrained(folder), str(folder), torch.float32)
    engine = LightEngine(LightModel(model, 64, 0), lambda ids: "", [], VOCAB, 512)
    pending = [ask(engine, p, max_tokens=100, temperature=2.0) for p in prompts(8)]
    pending += [ask(engine, p, max_tokens=100, temperature=0) for p in prompts(8)]
    drawn = [t for f in pending for t in f.result(timeout=60).token_ids]
    engine.close()
    assert max(drawn) < VOCAB and len(drawn) == 1600


def test_what_cannot_be_answered_is_refused_with_the_lengths(make_engine):
    engine = make_engine(max_model_len=20)
    with pytest.raises(ValueError, match="25 tokens.*holds 20"):
        ask(engine, list(range(3, 28)))
    with pytest.raises(ValueError, match="empty"):
        ask(engine, [])
    with pytest.raises(ValueError, match="token 999 lies outside the vocabulary of 259"):
        ask(engine, [5, 999])
    assert len(ask(engine, list(range(3, 21)), max_tokens=50).result(timeout=60).token_ids) == 2


def test_sleep_frees_the_cache_and_requests_wait_for_the_wake_up(make_engine):
    engine = make_engine(prefix_cache_bytes=1 << 20)
    first = ask(engine, prompts(1)[0], seed=1).result(timeout=60)
    engine.sleep()
    assert engine.model._cache.data.numel() == 0 and engine.model.prefixes.bytes == 0
    waiting = ask(engine, prompts(1)[0], seed=1)
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.3)
    engine.wake_up()
    assert waiting.result(timeout=60).token_ids == first.token_ids


def test_prefixes_are_reused_within_their_memory(make_engine):
    engine = make_engine(prefix_cache_bytes=200_000)
    head = prompts(1, seed=2, longest=100)[0] * 3
    for i in range(30):
        ask(engine, head[:64] + prompts(1, seed=i)[0], max_tokens=1).result(timeout=60)
    prefixes = engine.model.prefixes
    assert 0 < prefixes.bytes <= 200_000
    assert prefixes.hit_tokens >= 29 * 64
