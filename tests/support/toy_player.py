# SPDX-License-Identifier: Apache-2.0
"""A small model that plays a few toy tasks: without a skill it finds the right room every other time, with a good one
nearly always, with a bad one never; and it can say in words how it solved one. Trained here, in seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from siri_verl.envs.toy import PLACES, ROOMS, THINGS, ToyEnv
from siri_verl.skills.mining_prompt import COMPACT_MINING, render_mining_prompt
from siri_verl.skills.text import skill_block
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import PromptSettings
from siri_verl.trajectory.turn import TurnView
from support.tiny_model import CHAT_TEMPLATE, SPECIAL_TOKENS

TRAIN = ("toy-coin-shelf-kitchen", "toy-coin-box-attic", "toy-lamp-box-garden", "toy-lamp-table-cellar")
CONDITION, GOOD, BAD = "a note is there", "go to the room that the note names", "go to another room than the note names"
HISTORY = 3
_WORDS = """when describe task turn did page skill condition strategy a note is there go to the room that names another
than you are in hall doors here door hold places game over put take say it 1 2 3 4 5 6 so"""
_PUNCTUATION = [":", ".", ";", "->", ",", "-"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word, tag and sign."""
    tags = ["<think>", "</think>", "<action>", "</action>"]
    words = [*tags, "user", "assistant", *_WORDS.split(), *THINGS, *ROOMS, *PLACES, *_PUNCTUATION]
    listed = list(dict.fromkeys([*SPECIAL_TOKENS, "<unk>", *words]))
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(listed)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Lowercase()
    pattern = Regex(r"</?[a-z]+>|->|[a-z]+|[0-9]+|[^\sa-z0-9]")
    backend.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="removed", invert=True)
    backend.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    pad, _, end = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=pad,
        eos_token=end,
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def act(action: str) -> str:
    return f"<think> so </think> <action> {action} </action>"


def lessons(tokenizer, tasks) -> list[tuple[list[int], str]]:
    """(prompt tokens, reply) pairs: every turn of the good and the bad way through each task."""
    prompts = PromptBuilder(tokenizer, PromptSettings(template="compact", history_length=HISTORY), 10_000)
    env, found = ToyEnv(), []
    for task_id in tasks:
        _, thing, place, room = task_id.split("-")
        wrong = ROOMS[(ROOMS.index(room) + 1) % len(ROOMS)]
        for strategy, ways in ((None, (room, wrong)), (GOOD, (room,)), (BAD, (wrong,))):
            skill = None if strategy is None else skill_block(CONDITION, strategy)
            for way in ways:
                observation, info = env.reset(seed=0, options={"task_id": task_id})
                turns: list[tuple[str, str]] = []
                while len(turns) < 3:
                    number = len(turns) + 1
                    held = f"take {observation.split('here is the ')[1].split('.')[0]}" if number == 2 else ""
                    action = (f"go {way}", held, f"put {place}")[number - 1]
                    view = TurnView(info["task"], observation, (), number, tuple(turns[-HISTORY:]), skill)
                    found.append((prompts.build(view).token_ids, act(action)))
                    turns.append((observation, action))
                    observation, _, _, _, info = env.step(action)
                if strategy is None and way == room:
                    message = render_mining_prompt(f"put the {thing} in the {place}", turns, COMPACT_MINING)
                    ids = tokenizer.apply_chat_template(
                        [{"role": "user", "content": message}], add_generation_prompt=True, return_dict=False
                    )
                    found.append((list(ids), f"condition : {CONDITION} strategy : {GOOD}"))
    return found


def make_player(folder: Path, tasks, *, steps: int = 200, seed: int = 0, head_dim: int = 16) -> float:
    """Write the model's folder.

    Returns:
        The last training loss per reply token; ln 2 / 9 or so is left to the two ways of plain first turns.
    """
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=512,
        initializer_range=0.1,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    pairs = [(p, [*tokenizer.encode(r), tokenizer.eos_token_id]) for p, r in lessons(tokenizer, tasks)]
    width = max(len(p) + len(r) for p, r in pairs)
    ids = torch.tensor([p + r + [0] * (width - len(p) - len(r)) for p, r in pairs])
    labels = torch.tensor([[-100] * len(p) + r + [-100] * (width - len(p) - len(r)) for p, r in pairs])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    loss = torch.zeros(())
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float(loss.detach())
