# SPDX-License-Identifier: Apache-2.0
"""Sizes of a decoder-only language model: parameters, KV cache, activations. Counts are numbers, not bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from siri_verl.failures import ConfigError


class UnknownSizes(ConfigError):
    """The model is a name on a hub, which is not asked for sizes."""


@dataclass(frozen=True)
class Architecture:
    """A dense decoder in the manner of Llama and Qwen2.

    Attributes:
        name: as shown in the plan.
        vocab, hidden, intermediate, layers, heads, kv_heads, head_dim: as in the model's config.json.
        tied: the output head is the input embedding.
        qkv_bias: query, key and value projections have a bias.
        counted: parameters counted on the model itself; None computes them.
        source: where the values come from.
    """

    name: str
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    qkv_bias: bool
    counted: int | None = None
    source: str = ""

    @property
    def embedding(self) -> int:
        """Parameters of input embedding and output head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        if self.counted is not None:
            return (self.counted - self.embedding - self.hidden) // self.layers
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * self.hidden * q + 2 * self.hidden * kv + (q + 2 * kv if self.qkv_bias else 0)
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        if self.counted is not None:
            return self.counted
        return self.embedding + self.layers * self.layer + self.hidden

    @property
    def kv_values(self) -> int:
        """Values in the KV cache per token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def layer_values(self) -> int:
        """Values a layer keeps per token for its backward pass: inputs of the two norms and their outputs, query, key,
        value, attention's output, the sums after both blocks, and the four of the gated MLP."""
        return 6 * self.hidden + (2 * self.heads + 2 * self.kv_heads) * self.head_dim + 4 * self.intermediate

    def adapters(self, rank: int) -> int:
        """Parameters of LoRA adapters of that rank on all linear maps of the layers."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        ends = (self.hidden + q) * 2 + (self.hidden + kv) * 2 + (self.hidden + self.intermediate) * 3
        return self.layers * rank * ends


def _qwen2_5(
    size: str, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int, tied: bool
) -> Architecture:
    name = f"Qwen/Qwen2.5-{size}-Instruct"
    sizes = (vocab, hidden, intermediate, layers, heads, kv_heads, 128)
    return Architecture(name, *sizes, tied=tied, qkv_bias=True, source=f"config.json of {name}")


KNOWN: dict[str, Architecture] = {
    found.name: found
    for found in (
        _qwen2_5("1.5B", 1536, 8960, 28, 12, 2, 151936, tied=True),
        _qwen2_5("3B", 2048, 11008, 36, 16, 2, 151936, tied=True),
        _qwen2_5("7B", 3584, 18944, 28, 28, 4, 152064, tied=False),
    )
}
"""Models whose sizes are known without their files."""


def architecture(path: str) -> Architecture:
    """The sizes of a model.

    Args:
        path: a Hugging Face folder, or a name in :data:`KNOWN`.

    Raises:
        UnknownSizes: another name.
        ConfigError: a path without a model, or a folder without a decoder's sizes.
    """
    folder = Path(path).expanduser()
    if (folder / "config.json").is_file():
        return from_folder(folder)
    if path in KNOWN:
        return KNOWN[path]
    is_path = folder.exists() or path.startswith(("/", ".", "~"))
    raise (ConfigError if is_path else UnknownSizes)(
        f"actor_rollout_ref.model.path={path!r}: its sizes are not known; give a folder that holds the model's "
        f"config.json, or one of {', '.join(KNOWN)}"
    )


def from_folder(folder: Path) -> Architecture:
    """The sizes of the model in a Hugging Face folder; parameters are counted on a model without storage.

    Raises:
        ConfigError: the folder's config.json is not that of a decoder-only language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    where = f"actor_rollout_ref.model.path={str(folder)!r}"
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            counted = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except Exception as error:
        raise ConfigError(f"{where}: its config.json does not describe a causal language model ({error})") from error

    def size(name: str, default: Any = None) -> int:
        value = getattr(config, name, None) or default
        if value is None:
            raise ConfigError(f"{where}: config.json lacks {name}; plan knows decoder-only language models")
        return int(value)

    heads, hidden = size("num_attention_heads"), size("hidden_size")
    return Architecture(
        str(folder),
        vocab=size("vocab_size"),
        hidden=hidden,
        intermediate=size("intermediate_size"),
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=size("num_key_value_heads", heads),
        head_dim=size("head_dim", hidden // heads),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        qkv_bias=False,
        counted=counted,
        source=f"{folder}/config.json, parameters counted",
    )
