# SPDX-License-Identifier: Apache-2.0
"""A small model taught on the spot to answer in given ways: what the examples start from on a machine without a GPU.

It stands where a pretrained model stands elsewhere. Teaching it two answers to one prompt makes it choose at random
between them, so that reinforcement learning has something to find out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

Lesson = tuple[list[dict[str, str]], str]
"""(messages so far, the assistant's reply)."""
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
# Roles and contents, nothing else: the model is too small to read tool schemas.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(texts: Sequence[str], vocabulary: int = 600) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose merges come from these texts; it can write any other text too."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    pad, _, end = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        additional_special_tokens=[SPECIAL[1]],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def teach(
    folder: Path,
    lessons: Sequence[Lesson],
    *,
    steps: int = 200,
    batch: int = 32,
    context: int = 1024,
    hidden: int = 64,
    seed: int = 0,
) -> float:
    """Write a model that answers as the lessons do.

    Args:
        folder: of the model, Hugging Face layout.
        lessons: the same one may stand several times.
        steps: of the optimizer.
        batch: lessons in each.
        context: most tokens.
        hidden: size of the model.
        seed: of its first weights.

    Returns:
        The loss per token of the replies, over all lessons; what is left is the choice between several answers.
    """
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = make_tokenizer([m["content"] for messages, _ in lessons for m in messages] + [r for _, r in lessons])
    heads = hidden // 16
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=16,
        max_position_embeddings=context,
        initializer_range=0.1,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    model = Qwen3ForCausalLM(config)
    rows = []
    for messages, reply in lessons:
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        rows.append((list(prompt), [*tokenizer.encode(reply), tokenizer.eos_token_id]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        loss = _loss(model, rng.sample(rows, min(batch, len(rows))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    with torch.no_grad():
        return float(_loss(model, rows))


def _loss(model: Qwen3ForCausalLM, rows: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    width = max(len(prompt) + len(reply) for prompt, reply in rows)
    ids = torch.tensor([p + r + [0] * (width - len(p) - len(r)) for p, r in rows])
    labels = torch.tensor([[-100] * len(p) + r + [-100] * (width - len(p) - len(r)) for p, r in rows])
    return model(input_ids=ids, labels=labels).loss
