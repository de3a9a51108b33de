# SPDX-License-Identifier: Apache-2.0
"""Between text and tokens: what of a reply stands in the prompt, how replies are decoded, which tokens are control."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from siri_verl.envs.replies import ACTION_CLOSE, ACTION_OPEN, THINK_CLOSE, THINK_OPEN
from siri_verl.failures import ConfigError
from siri_verl.files import without_surrogates

TAGS = (THINK_OPEN, THINK_CLOSE, ACTION_OPEN, ACTION_CLOSE)
_READ = (*TAGS, "<tool_call>", "</tool_call>")
_OPENING = re.compile(rf"{THINK_OPEN}\s*({THINK_CLOSE})?\s*$")
# Some tokenizers declare an ordinary character special (CLIP pads with "!"), which texts must keep.
_SHORTEST = 3


def apply_chat_template(
    tokenizer: Any, messages: Sequence[Mapping[str, Any]], kwargs: Mapping[str, Any], *, tokenize: bool
) -> Any:
    """The tokenizer's chat template, ready for the assistant's reply, as token ids or as text.

    Raises:
        ConfigError: the template does not render these messages (some want a system message, or content in parts).
    """
    try:
        return tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, tokenize=tokenize, **kwargs
        )
    except Exception as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        raise ConfigError(
            f"actor_rollout_ref.model.path={getattr(tokenizer, 'name_or_path', '')!r}: its chat template cannot render "
            f"a conversation of {roles} ({type(error).__name__}: {error}); set "
            "actor_rollout_ref.model.custom_chat_template, or the template's arguments in "
            "data.apply_chat_template_kwargs"
        ) from error


def reply_opening(tokenizer: Any, chat_template_kwargs: Mapping[str, Any]) -> str:
    """What the chat template writes of a reply before the model does.

    Returns:
        "<think>" where the prompt ends in an opened think block (R1 distillations, Qwen3-Thinking), "<think></think>"
        where it ends in an empty one (Qwen3 with enable_thinking=False), else "". A reply is read with this before it.
    """
    message = {"role": "user", "content": "x"}
    match = _OPENING.search(apply_chat_template(tokenizer, [message], chat_template_kwargs, tokenize=False))
    return "" if match is None else THINK_OPEN + (match[1] or "")


def implied_opening(text: str) -> str:
    """What stands before a reply whose prompt is unknown (an endpoint's): "<think>" where it closes a block that it
    did not open, else ""."""
    before, close, _ = text.partition(THINK_CLOSE)
    return THINK_OPEN if close and THINK_OPEN not in before else ""


def decode_reply(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """A reply as text: without special tokens, except the tags that are read (think, action, tool_call).

    Args:
        tokenizer: the policy's.
        token_ids: the reply.
    """
    hidden = _hidden(tokenizer, len(tokenizer))
    if hidden is None:
        return tokenizer.decode(token_ids, skip_special_tokens=True)
    return tokenizer.decode([i for i in token_ids if int(i) not in hidden], skip_special_tokens=False)


class ControlTokens:
    """Removes the tokenizer's special tokens from text that an environment wrote, and what no tokenizer takes: half of
    a surrogate pair becomes U+FFFD.

    A tokenizer encodes such a text as the token itself, so that a product's title could end the user's message. Each is
    replaced by a blank, as in the bank's text (`siri_verl.skills.sanitize`). Nothing else is changed, unless the
    tokenizer looks for its special tokens in normalised text, and normalising makes one: then the text is normalised.
    """

    def __init__(self, tokenizer: Any):
        self._normalise = _normaliser(tokenizer)
        special = {token for token in _special(tokenizer).values() if len(token.strip()) >= _SHORTEST}
        if self._normalise is not None:
            special |= {self._normalise(token) for token in special}
        tokens = sorted(special, key=lambda token: (-len(token), token))
        self._pattern = re.compile("|".join(map(re.escape, tokens))) if tokens else None

    def removed(self, text: str, keep: Sequence[str] = ()) -> str:
        """The text without special tokens, those of `keep` excepted."""
        text = without_surrogates(text)
        if self._pattern is None:
            return text
        text = self._without(text, keep)
        if self._normalise is not None:
            normal = self._normalise(text)
            clean = self._without(normal, keep)
            text = text if clean == normal else clean
        return text

    def _without(self, text: str, keep: Sequence[str]) -> str:
        return self._pattern.sub(lambda found: found[0] if found[0] in keep else " ", text)


def _normaliser(tokenizer: Any) -> Callable[[str], str] | None:
    """The tokenizer's normalisation where it comes before the search for a special token."""
    normaliser = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    if normaliser is None or not any(token.special and token.normalized for token in added):
        return None
    return normaliser.normalize_str


def _special(tokenizer: Any) -> dict[int, str]:
    """Id -> text of every special token, also of those without a role (reserved tokens)."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    named = zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True)
    return dict(named) | {i: token.content for i, token in added.items() if token.special}


@lru_cache(maxsize=8)
def _hidden(tokenizer: Any, size: int) -> frozenset[int] | None:
    """Ids of the special tokens that are not tags; None where no tag is special. `size` renews the cached answer when
    tokens are added."""
    special = _special(tokenizer)
    if not any(token in _READ for token in special.values()):
        return None
    return frozenset(i for i, token in special.items() if token not in _READ)
