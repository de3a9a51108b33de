# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of other families, each with the chat template, end tokens and missing parts of its own.

Templates are those of the published models, without tools: Llama 3 (begin token, headers, two end tokens, no pad
token), Mistral v0.1 (no system message, no generation prompt, sliding window), Gemma 2 and 3 (no system message, the
assistant is called model, replies end in <end_of_turn>), Qwen3 (thoughts are dropped from earlier replies).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIZES = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
WINDOW = 24
"""Tokens that a layer with a sliding window sees."""

_LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
_GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_QWEN3 = (
    "{% for m in messages %}{% set content = m['content'] %}"
    "{% if m['role'] == 'assistant' and not loop.last and '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """One family.

    Attributes:
        config: name of transformers' class.
        template: chat template.
        tokens: special tokens.
        bos, eos, pad: of the tokenizer.
        ends: what the generation configuration adds to the end token.
        opens: how a prompt ends.
        system: whether the template takes a system message.
        extra: further fields of the configuration.
    """

    config: str
    template: str
    tokens: tuple[str, ...]
    eos: str
    opens: str
    bos: str | None = None
    pad: str | None = None
    ends: tuple[str, ...] = ()
    system: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


_LLAMA_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_GEMMA_FIELDS = dict(
    template=_GEMMA, tokens=("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), bos="<bos>", eos="<eos>",
    pad="<pad>", ends=("<end_of_turn>",), opens="<start_of_turn>model\n", system=False,
)  # fmt: skip
_GEMMA_EXTRA = dict(head_dim=8, query_pre_attn_scalar=8, sliding_window=WINDOW)

FAMILIES = {
    "llama": Family(
        "LlamaConfig", _LLAMA, _LLAMA_TOKENS, bos="<|begin_of_text|>", eos="<|end_of_text|>", ends=("<|eot_id|>",),
        opens="<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "mistral": Family(
        "MistralConfig", _MISTRAL, ("<unk>", "<s>", "</s>"), bos="<s>", eos="</s>", opens=" [/INST]", system=False,
        extra=dict(sliding_window=WINDOW),
    ),
    "gemma2": Family("Gemma2Config", **_GEMMA_FIELDS, extra=_GEMMA_EXTRA),
    "gemma3": Family(
        "Gemma3TextConfig", **_GEMMA_FIELDS,
        extra={**_GEMMA_EXTRA, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "qwen3": Family(
        "Qwen3Config", _QWEN3, ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), eos="<|im_end|>", pad="<|endoftext|>",
        opens="<|im_start|>assistant\n", extra=dict(head_dim=8),
    ),
}  # fmt: skip


def make_family(folder: Path, name: str, seed: int = 0) -> Path:
    """Write a tiny random model of a family with its tokenizer, one token per byte; returns the folder."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    family = FAMILIES[name]
    pieces = [*family.tokens, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocab=ids, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(family.tokens))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=family.bos, eos_token=family.eos, pad_token=family.pad,
        chat_template=family.template,
    )  # fmt: skip
    numbers = dict(bos_token_id=ids.get(family.bos), eos_token_id=ids[family.eos], pad_token_id=ids.get(family.pad))
    config = getattr(transformers, family.config)(
        vocab_size=len(pieces), max_position_embeddings=1024, **SIZES, **family.extra, **numbers
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.data.mul_(3.0)  # farther from a uniform policy
    model.generation_config = transformers.GenerationConfig(
        **{**numbers, "eos_token_id": [ids[token] for token in (family.eos, *family.ends)]}
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
