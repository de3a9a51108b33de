# SPDX-License-Identifier: Apache-2.0
"""The light server's generation on each device: its log-probs are those of one forward pass of plain transformers."""

import pytest
import torch
from support.tiny_model import make_tiny_model, make_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams
from siri_verl.settings.light import LightSettings

VOCAB = 259
TEMPERATURE = 0.8
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Of a log-probability. bfloat16 keeps eight bits: a logit near 1 is rounded by up to 0.004 in every layer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"), layers=3)


def prompts(count=12):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 40, (count,), generator=generator).tolist()
    made = [torch.randint(3, VOCAB, (length,), generator=generator).tolist() for length in lengths]
    return [*made, *made[:2]]  # the last two repeat: their keys and values are copied


@pytest.fixture
def served(folder, device, request):
    """What an engine on the device wrote for each prompt, in the parameter's dtype: [(prompt, completion)]."""
    options = LightSettings.from_mapping({"device": device})
    model = load_model(AutoConfig.from_pretrained(folder), str(folder), request.param, options.device)
    light = LightModel(model, prefill_tokens=64, prefix_cache_bytes=1 << 20)
    assert light.device.type == device
    decode = make_tokenizer().decode
    engine = LightEngine(light, decode, eos_token_ids=(), valid_vocab=VOCAB, max_model_len=128, max_running=8)
    try:
        futures = []
        for i, prompt in enumerate(prompts()):
            params = {"temperature": TEMPERATURE, "seed": i, "max_tokens": 4 + i, "logprobs": True}
            futures.append((prompt, engine.submit(str(i), prompt, SamplingParams.from_mapping(params))))
        yield request.param, [(prompt, future.result(timeout=120)) for prompt, future in futures]
    finally:
        engine.close()


@pytest.mark.parametrize("served", [torch.float32, torch.bfloat16], indirect=True, ids=str)
def test_log_probs_are_those_of_one_forward_pass(served, folder, device):
    dtype, replies = served
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
    for prompt, done in replies:
        ids = torch.tensor([prompt + done.token_ids], device=device)
        with torch.no_grad():
            logits = plain(ids).logits[0, len(prompt) - 1 : -1].float() / TEMPERATURE
        written = torch.tensor(done.token_ids, device=device)[:, None]
        expected = torch.log_softmax(logits, -1).gather(-1, written)[:, 0].cpu()
        assert done.reason == "length" and len(done.log_probs) == len(expected) >= 4
        assert (torch.tensor(done.log_probs) - expected).abs().max() < TOLERANCE[dtype]


def test_new_weights_from_the_host_reach_the_device(folder, device):
    light = LightModel(load_model(AutoConfig.from_pretrained(folder), None, torch.float32, device), 64, 1 << 20)
    prompt = prompts()[0]
    with torch.no_grad():
        before = light.prefill([prompt], 0).cpu()
        plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        light.update_weights(plain.state_dict().items())
        after = light.prefill([prompt], 0).cpu()
        expected = plain(torch.tensor([prompt])).logits[0, -1]
    torch.testing.assert_close(after[0], expected, atol=1e-3, rtol=1e-3)
    assert (after - before).abs().max() > 0.01
