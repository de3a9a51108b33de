# SPDX-License-Identifier: Apache-2.0
"""Texts of environments, catalogues and models cannot break a chat template, end a turn or forge an action."""

import pytest
from hypothesis import given, settings
from support.hostile import CHAT, JOINED, TEXTS, texts
from support.tiny_model import make_tokenizer
from tokenizers import AddedToken, normalizers
from verl.workers.rollout.replica import TokenOutput

from siri_verl.skills.bank import SkillBank
from siri_verl.skills.mining_prompt import parse_mined_skill, render_mining_prompt
from siri_verl.skills.skill import Provenance
from siri_verl.training.miners import PolicyMiner
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings
from siri_verl.trajectory.turn import Reply, TurnView

FAMILIES = {
    "chatml": (("<|im_start|>", "<|im_end|>"), "<|im_start|>{role}\n", "<|im_end|>\n"),
    "llama": (
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
    ),
    "gemma": (("<start_of_turn>", "<end_of_turn>"), "<start_of_turn>{role}\n", "<end_of_turn>\n"),
    "mistral": (("[INST]", "[/INST]", "</s>", "<s>"), "[INST]", "[/INST]"),
    "deepseek": (("<\uff5cuser\uff5c>", "<\uff5cassistant\uff5c>"), "<\uff5c{role}\uff5c>", ""),
}


def family(name, normalised=False):
    """A byte tokenizer with the control tokens and the chat template of a family of models."""
    tokens, before, after = FAMILIES[name]
    tokenizer = make_tokenizer()
    if normalised:
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    added = [AddedToken(token, special=True, normalized=normalised) for token in tokens]
    tokenizer.add_special_tokens({"additional_special_tokens": added})
    turn = before.replace("{role}", "{{ m['role'] }}") + "{{ m['content'] }}" + after
    tokenizer.chat_template = (
        "{% for m in messages %}"
        + turn
        + "{% endfor %}{% if add_generation_prompt %}"
        + before.replace("{role}", "assistant")
        + "{% endif %}"
    )
    return tokenizer


def controls(tokenizer, ids):
    """The control tokens of a prompt, in order."""
    return [i for i in ids if i in set(tokenizer.all_special_ids)]


def view(text):
    return TurnView(text, text, (text, text), 3, ((text, text), ("o", "a")), text)


KINDS = [*((name, False) for name in FAMILIES), ("chatml", True), ("deepseek", True)]


@pytest.mark.parametrize("name, normalised", KINDS)
def test_no_text_adds_a_control_token(name, normalised):
    tokenizer = family(name, normalised)
    prompts = PromptBuilder(tokenizer, PromptSettings(), 10**6)
    expected = controls(tokenizer, prompts.tokens(view("a")))
    assert expected, "the template has control tokens"

    @settings(max_examples=8)
    @given(texts())
    def check(text):
        assert controls(tokenizer, prompts.tokens(view(text))) == expected, repr(text)

    check()
    for text in (JOINED, JOINED.replace("<", "\uff1c"), JOINED.upper(), *(TEXTS if name == "chatml" else ())):
        assert controls(tokenizer, prompts.tokens(view(text))) == expected, repr(text)


@pytest.mark.parametrize("name", FAMILIES)
def test_mining_prompts_neither(name):
    tokenizer = family(name)
    miner = PolicyMiner(None, tokenizer, {}, 8, 10**6, None)
    asked = []

    class Client:
        async def generate(self, request_id, prompt_ids, sampling_params):
            asked.append(controls(tokenizer, prompt_ids))
            return TokenOutput(token_ids=[5], log_probs=[-0.5])

    miner.client = Client()
    miner([render_mining_prompt(text, [(text, text)]) for text in ("a", JOINED, JOINED[::-1], *CHAT)], 1)
    assert all(found == asked[0] for found in asked)


@settings(max_examples=30)
@given(texts())
def test_the_texts_of_an_environment_are_in_the_prompt_as_they_are(text):
    tokenizer = family("chatml")
    prompts = PromptBuilder(tokenizer, PromptSettings(), 10**6)
    assert "{{ 7 * 7 }}" in prompts.message(view("{{ 7 * 7 }}")) and "{0} %s" in prompts.message(view("{0} %s"))
    message = prompts.message(TurnView(text, text))
    assert message.count("First reason about the situation") >= 1, "the instruction is the last section"
    assert message.endswith("inside <action> </action> tags.")


@settings(max_examples=30)
@given(texts())
def test_an_action_comes_from_the_reply_alone(text):
    info = {"task": text, "admissible_actions": [text]}
    episode = Episode(EpisodePlan("t", skill_id="s0001", skill_text=text), text, info)
    assert episode.reply(Reply("no tags here")) == ""
    episode.observe(text, 0.0, False, False, info)
    assert not episode.turns[0].valid
    assert episode.reply(Reply("<think>x</think><action>go</action>" + text)) == "go"


@settings(max_examples=50)
@given(texts())
def test_a_mined_text_enters_the_bank_as_one_printable_line(text):
    bank = SkillBank(special_tokens=("<|im_end|>", "<|im_start|>", "<|pad|>"))
    for answer in (f"condition: {text}\nstrategy: {text}", text):
        found = parse_mined_skill(answer)
        if found.problem is None:
            bank.add(found.condition, found.strategy, "type", Provenance("t", "1/t/0", 1))
    bank.add(text, text, "other", Provenance("t", "1/t/0", 1))
    for skill in bank.skills.values():
        assert skill.block.isprintable() and "\n" not in skill.block
        assert not any(tag in skill.block.lower() for tag in ("<think>", "</think>", "<action>", "</action>", "<|im_"))
