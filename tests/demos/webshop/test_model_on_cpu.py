# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer

from siri_verl.demos.warm_start.model import TAGS
from siri_verl.demos.warm_start.rows import make_rows
from siri_verl.demos.webshop import words
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.model import build_tokenizer, make_model
from siri_verl.skills.text import skill_block
from siri_verl.training.preflight.reply_format import FormatCheck
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("model")
    assert make_model(out, seed=1) <= 500_000
    return out


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_vocabulary_fits_the_model_and_the_seed_decides_the_weights(folder, tokenizer, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model.config.vocab_size == len(tokenizer) == len(build_tokenizer())
    make_model(tmp_path / "same", seed=1)
    make_model(tmp_path / "other", seed=2)
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "same" / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() != (tmp_path / "other" / "model.safetensors").read_bytes()


def test_rows_have_no_unknown_word_and_replies_survive_decoding(env, tokenizer):
    tasks = [*env.task_ids()]
    rows = make_rows(DEMO, env, tasks, {"act": 300, "follow": 300, "describe": 300}, seed=2)
    lengths = []
    for row in rows:
        messages = [{"role": "user", "content": row.prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)["input_ids"]
        reply = tokenizer.encode(row.reply, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids + reply, row
        assert tokenizer.decode(reply, skip_special_tokens=True) == row.reply
        lengths.append((len(ids), len(reply) + 1))
    assert max(p for p, _ in lengths) <= 260 and max(r for _, r in lengths) <= 26


def test_tags_are_ordinary_tokens(tokenizer):
    for tag in TAGS:
        ids = tokenizer.encode(tag, add_special_tokens=False)
        assert len(ids) == 1 and tokenizer.decode(ids, skip_special_tokens=True) == tag


def test_the_format_check_of_a_run_accepts_the_model(env, tokenizer):
    config = OmegaConf.create({"actor_rollout_ref": {"model": {"path": "model"}}})
    check = FormatCheck(config, PromptBuilder(tokenizer, PromptSettings(template="compact"), 260))
    for task in env.task_ids()[:20]:
        check.look_at(task, *env.reset(seed=0, options={"task_id": task}))
    check.finish()


def test_every_price_limit_and_turn_is_one_token(env, tokenizer):
    limits = {f"{goal.price_upper:.2f}" for goal in env.catalog.goals.values()}
    for text in [
        *limits,
        *map(str, range(1, 16)),
        "$9.0",
        words.ASIN_ITEMS[0].lower(),
        "buy now",
        "< prev",
        "next >",
        "search[",
    ]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert len(ids) == 1 and ids != [tokenizer.unk_token_id], text


def test_a_skill_block_reads_back(tokenizer):
    text = skill_block("shopping for the kitchen", "open the first item and buy it at once").lower()
    decoded = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
    assert decoded.replace(" :", ":") == text
