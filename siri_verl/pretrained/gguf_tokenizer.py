# SPDX-License-Identifier: Apache-2.0
"""The tokenizer that a GGUF file describes.

transformers 5.10 reads tokenizers from GGUF files too, but takes the begin token of Llama models for their end token,
and cuts text into words by one rule (transformers/integrations/ggml.py): replies would not end, and digits would be
merged where the model was trained on single ones. This module builds byte-level BPE tokenizers from the file's own
fields and refuses every other kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siri_verl.failures import ConfigError

# Words of Qwen2's and of Llama 3's tokenizer.json: they differ in how many digits stand together.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTROL, _USER_DEFINED = 3, 4
"""Kinds of tokens in `tokenizer.ggml.token_type`."""
RULES = ("gpt-2", "smollm", "qwen2", "llama-bpe")
"""Values of `tokenizer.ggml.pre` that are read."""


def _pre_tokenizer(rule: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if rule in ("gpt-2", "smollm"):
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = pre_tokenizers.Digits(individual_digits=True)
        return words if rule == "gpt-2" else pre_tokenizers.Sequence([digits, words])
    pattern = _WORDS.format(digits="" if rule == "qwen2" else "{1,3}")
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def read_tokenizer(fields: Mapping[str, Any], where: str) -> Any:
    """A transformers tokenizer, chat template included.

    Args:
        fields: the file's metadata, `tokenizer.ggml.*` and `tokenizer.chat_template` among them.
        where: names the file in errors.

    Raises:
        ConfigError: another kind of tokenizer than byte-level BPE, or one whose rule for words is not known here.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    kind, rule = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or rule not in RULES:
        raise ConfigError(
            f"{where}: its tokenizer is of kind {kind!r} with the rule {rule!r}; known are byte-level BPE ('gpt2') "
            f"with {', '.join(RULES)}; give the model's Hugging Face folder instead"
        )
    texts = list(fields["tokenizer.ggml.tokens"])
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    vocabulary = {text: i for i, text in enumerate(texts)}
    backend = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=rule == "llama-bpe"))
    backend.pre_tokenizer, backend.decoder = _pre_tokenizer(rule), decoders.ByteLevel()
    if rule == "qwen2":
        backend.normalizer = normalizers.NFC()
    kinds = fields["tokenizer.ggml.token_type"]
    for text, token_type in zip(texts, kinds, strict=True):
        if token_type in (_CONTROL, _USER_DEFINED):
            token = AddedToken(text, normalized=False, special=token_type == _CONTROL)
            (backend.add_special_tokens if token.special else backend.add_tokens)([token])
    named = {}
    for role, field in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        if (number := fields.get(f"tokenizer.ggml.{field}_token_id")) is not None:
            named[f"{role}_token"] = texts[number]
    named.setdefault("pad_token", named.get("eos_token"))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=fields.get("tokenizer.chat_template"),
        clean_up_tokenization_spaces=False,
        model_max_length=_context(fields),
        **named,
    )


def _context(fields: Mapping[str, Any]) -> int:
    """Tokens of the model's context."""
    return int(fields[f"{fields['general.architecture']}.context_length"])
