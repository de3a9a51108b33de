# SPDX-License-Identifier: Apache-2.0
"""Other families of models, tiny and random, with their own chat templates, through prompt builder, light server, actor
and evaluation; what a family cannot do is refused with the reason."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.families import FAMILIES, WINDOW, make_family
from transformers import AutoConfig, AutoModelForCausalLM, GptOssConfig
from verl.utils import hf_tokenizer
from verl.utils.model import get_generation_config

from siri_verl.envs.panels import make_panel
from siri_verl.evaluation.options import EvalOptions
from siri_verl.evaluation.prepare import prepare
from siri_verl.evaluation.run import run_evaluation
from siri_verl.failures import ConfigError
from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams
from siri_verl.light.settings import drawn_tokens
from siri_verl.pretrained.attention import check_arguments
from siri_verl.trajectory.prompt_builder import PromptBuilder, chat_tokens
from siri_verl.trajectory.prompts import PromptSettings
from siri_verl.trajectory.turn import TurnView

SERVED = [name for name in FAMILIES if name != "gemma2"]
TEMPERATURE, REQUESTS, TOKENS = 0.8, 24, 40
JOB = Path(__file__).parents[1] / "support" / "families_job.py"
VIEW = TurnView(task="put the coin in the box", observation="you are in the hall.", admissible_actions=("wait",))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: make_family(tmp_path_factory.mktemp(name), name) for name in FAMILIES}


@pytest.fixture(scope="module")
def tokenizers(folders):
    return {name: hf_tokenizer(str(folder)) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def lights(folders):
    made = {}
    for name in SERVED:
        model = load_model(AutoConfig.from_pretrained(folders[name]), str(folders[name]), torch.float32)
        made[name] = LightModel(model, prefill_tokens=512, prefix_cache_bytes=1 << 22)
    return made


@pytest.fixture(scope="module")
def replies(folders, tokenizers, lights):
    """name -> [(prompt, completion)]: the same prompt, which is longer than a window, and other turns of it."""
    found = {}
    for name, light in lights.items():
        config = AutoConfig.from_pretrained(folders[name])
        tokenizer = tokenizers[name]
        ends, vocabulary = drawn_tokens(config, tokenizer, get_generation_config(str(folders[name])))
        engine = LightEngine(light, tokenizer.decode, ends, vocabulary, max_model_len=1024)
        builder = PromptBuilder(tokenizer, PromptSettings(template="compact_actions"), 512)
        prompts = [builder.build(VIEW if k % 2 else TurnView("go", f"room {k}")).token_ids for k in range(REQUESTS)]
        assert min(map(len, prompts)) > WINDOW
        asked = [
            SamplingParams(temperature=TEMPERATURE, max_tokens=TOKENS, seed=k, logprobs=True) for k in range(REQUESTS)
        ]
        pending = [engine.submit(str(k), p, a) for k, (p, a) in enumerate(zip(prompts, asked, strict=True))]
        found[name] = [(p, f.result(timeout=120)) for p, f in zip(prompts, pending, strict=True)]
        engine.close()
    return found


@pytest.fixture(scope="module")
def actors(folders, replies, tmp_path_factory):
    """name -> what verl's engine on the CPU computes for these replies."""

    def rows(name):
        for prompt, done in replies[name]:
            ids, size = torch.tensor(prompt + done.token_ids), len(done.token_ids)
            yield {
                "prompts": ids[: len(prompt)],
                "responses": ids[len(prompt) :],
                "input_ids": ids,
                "position_ids": torch.arange(len(ids)),
                "response_mask": torch.ones(size, dtype=torch.int64),
                "loss_mask": torch.ones(size, dtype=torch.int64),
            }

    some = list(rows("llama"))
    jobs = {
        name: {"model": str(folder), "rows": list(rows(name)) if name in SERVED else some, "temperature": TEMPERATURE}
        for name, folder in folders.items()
    }
    folder = tmp_path_factory.mktemp("actors")
    torch.save(jobs, folder / "in")
    command = [sys.executable, str(JOB), str(folder / "in"), str(folder / "out")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    one = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    env = os.environ | {"OMP_NUM_THREADS": "1", "SIRI_PLATFORM": "cpu", **one}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return torch.load(folder / "out")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_ends_where_the_reply_begins(name, tokenizers):
    tokenizer, family = tokenizers[name], FAMILIES[name]
    builder = PromptBuilder(tokenizer, PromptSettings(), 4096)
    ids = builder.build(VIEW).token_ids
    text = tokenizer.decode(ids)
    assert text.endswith(family.opens) and builder.opening == ""
    assert builder.message(VIEW) in text and "Observation: you are in the hall." in text
    begins = ids.count(tokenizer.bos_token_id) if family.bos else 0
    assert begins == (1 if family.bos else 0) and (not family.bos or ids[0] == tokenizer.bos_token_id)
    reply = "<think>so</think><action>wait</action>"
    whole = [{"role": "user", "content": builder.message(VIEW)}, {"role": "assistant", "content": reply}]
    rendered = tokenizer.apply_chat_template(whole, tokenize=False)
    after = rendered.removeprefix(text)
    assert after != rendered and after.startswith(reply)
    assert after[len(reply) :].strip() in (family.eos, *family.ends)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_system_message_that_a_template_refuses_is_an_error_that_says_so(name, tokenizers):
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    if FAMILIES[name].system:
        assert "be brief" in tokenizers[name].decode(chat_tokens(tokenizers[name], messages, {}))
    else:
        with pytest.raises(ConfigError, match="cannot render a conversation of system, user .*custom_chat_template"):
            chat_tokens(tokenizers[name], messages, {})


def test_qwen3_without_thinking_opens_the_reply_with_an_empty_thought(tokenizers):
    builder = PromptBuilder(tokenizers["qwen3"], PromptSettings(), 4096, {"enable_thinking": False})
    assert builder.opening == "<think></think>"
    history = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "<think>a secret</think>two"},
        {"role": "user", "content": "three"},
    ]
    text = tokenizers["qwen3"].decode(chat_tokens(tokenizers["qwen3"], history, {}))
    assert "a secret" not in text and "assistant\ntwo" in text


@pytest.mark.parametrize("name", SERVED)
def test_replies_stop_at_every_end_token_of_the_family(name, folders, tokenizers, replies):
    family = FAMILIES[name]
    ends = {tokenizers[name].convert_tokens_to_ids(token) for token in (family.eos, *family.ends)}
    stopped = set()
    for _, done in replies[name]:
        assert not ends & set(done.token_ids[:-1])
        last = done.token_ids[-1]
        assert (last in ends) == (done.reason == "stop") and (last in ends or len(done.token_ids) == TOKENS)
        stopped |= ends & {last}
    assert stopped, "no reply of a random model ended by itself"
    pad = tokenizers[name].pad_token
    assert pad == (family.pad or family.eos), "verl's loader gives a tokenizer without a pad token its end token"


@pytest.mark.parametrize("name", SERVED)
def test_the_servers_log_probs_are_the_actors_and_transformers_own(name, folders, replies, actors, lights):
    plain = AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32, attn_implementation="eager")
    for k, (prompt, done) in enumerate(replies[name]):
        sampled = torch.tensor(done.log_probs)
        actor = actors[name]["log_probs"][k][len(prompt) - 1 : -1]
        assert (sampled - actor).abs().max() < 1e-4
        with torch.no_grad():
            logits = plain(torch.tensor([prompt + done.token_ids])).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
        expected = torch.log_softmax(logits, -1).gather(-1, torch.tensor(done.token_ids)[:, None])[:, 0]
        assert (sampled - expected).abs().max() < 1e-4
    lights[name].update_weights(actors[name]["weights"].items())  # under the names that the server knows


def test_gemma_2_is_refused_by_server_and_actor_with_the_reason(folders, actors):
    reason = r"attention scores are capped \(attn_logit_softcapping=50.0\)"
    model = load_model(AutoConfig.from_pretrained(folders["gemma2"]), None, torch.float32)
    with pytest.raises(ValueError, match=f"'gemma2': the light server cannot run it.*{reason}; use rollout.name=vllm"):
        LightModel(model, 64, 0)
    assert "attention scores are capped (attn_logit_softcapping=50.0); set" in actors["gemma2"]["error"]
    assert "attn_implementation=eager" in actors["gemma2"]["error"]


def test_what_an_attention_layer_asks_for_beyond_that_is_refused():
    class Attention(torch.nn.Module):
        config = GptOssConfig(num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"])
        layer_idx = 0

    with pytest.raises(ValueError, match="Attention asks for s_aux of its attention"):
        check_arguments(Attention(), {"s_aux": torch.zeros(4), "sliding_window": 8, "dropout": 0.0})
    with pytest.raises(ValueError, match="layer 0 is of kind sliding_attention and names no sliding_window"):
        check_arguments(Attention(), {})
    check_arguments(Attention(), {"sliding_window": 8, "use_cache": False})


@pytest.mark.parametrize("name", SERVED)
def test_an_evaluation_plays_with_it(name, folders, tmp_path):
    make_panel("toy", {}, "validation", 2).write(tmp_path / "panel.json")
    options = EvalOptions(
        model=str(folders[name]), panel=tmp_path / "panel.json", template="full", max_prompt_length=960,
        max_response_length=24, max_turns=2, temperature=1.0, concurrent=4, seed=1,
    )  # fmt: skip
    summary = run_evaluation(prepare(options), tmp_path / "out")
    assert summary["samples"] == 2 and summary["shares"]["invalid"] == 1.0
