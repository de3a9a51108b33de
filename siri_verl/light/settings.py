# SPDX-License-Identifier: Apache-2.0
"""Settings of the light engine: what a server is started with, and what follows from a model.

Imports neither verl nor Ray: the server's process reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from siri_verl.settings.light import LightSettings


@dataclass(frozen=True)
class ServerSettings:
    """Everything a server needs, read from verl's configuration by
    :func:`siri_verl.light.replica.server_settings`.

    Attributes:
        replica_rank: number of the replica.
        hf_config: configuration of the model.
        weights: folder of the weights; None until a trainer sends them.
        tokenizer: for stop strings.
        eos_token_ids: tokens that end a reply.
        valid_vocab: number of ids the tokenizer knows; the rest of the vocabulary is padding.
        dtype: of the weights.
        prompt_length: longest prompt the trainer counts on.
        response_length: longest reply when a request names no length.
        max_model_len: most tokens of prompt and reply together.
        max_running: most requests in a batch.
        ignore_eos: default for requests that do not set it.
        free_cache: whether :meth:`LightServer.sleep` does anything.
        trust_remote_code: for models that bring code.
        light: what the user set.
    """

    replica_rank: int
    hf_config: Any
    weights: str | None
    tokenizer: Any
    eos_token_ids: frozenset[int]
    valid_vocab: int
    dtype: torch.dtype
    prompt_length: int
    response_length: int
    max_model_len: int
    max_running: int
    ignore_eos: bool = False
    free_cache: bool = True
    trust_remote_code: bool = False
    light: LightSettings = field(default_factory=LightSettings)


def drawn_tokens(hf_config: Any, tokenizer: Any, generation_config: Any) -> tuple[frozenset[int], int]:
    """Which tokens end a reply, and which may be drawn at all.

    Args:
        hf_config: configuration of the model.
        tokenizer: its end token ends a reply.
        generation_config: its `eos_token_id`, one or several, end a reply too; None where the model has none.

    Returns:
        The ids that end a reply, and the number of ids that both the tokenizer and the model know.
    """
    named = getattr(generation_config, "eos_token_id", None)
    ends = [tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])]
    return frozenset(int(i) for i in ends if i is not None), min(len(tokenizer), hf_config.vocab_size)


def check_length(hf_config: Any, length: int, fields: str) -> None:
    """Refuse a prompt and reply that do not fit into the model.

    Args:
        hf_config: configuration of the model.
        length: tokens of prompt and reply together.
        fields: the settings that give the length, for the message.

    Raises:
        ValueError: names the fields, the length and the model's limit.
    """
    limit = getattr(hf_config, "max_position_embeddings", length)
    if length > limit:
        raise ValueError(f"{fields} = {length} exceeds the model's max_position_embeddings {limit}: lower them")
