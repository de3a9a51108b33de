# SPDX-License-Identifier: Apache-2.0
"""Sizes of a decoder-only language model: parameters, KV cache, activations. Counts are numbers, not bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
        latent: values that multi-head latent attention caches per layer and token in place of keys and values.
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
    latent: int | None = None

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
        return self.layers * (2 * self.kv_heads * self.head_dim if self.latent is None else self.latent)

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


def _qwen3(size: str, hidden: int, intermediate: int, layers: int, heads: int) -> Architecture:
    """Qwen3 has no biases, and norms of each head's queries and keys, of 128 values each."""
    name = f"Qwen/Qwen3-{size}"
    sizes = (151936, hidden, intermediate, layers, heads, 8, 128)
    found = Architecture(name, *sizes, tied=True, qkv_bias=False, source=f"config.json of {name}")
    return replace(found, counted=found.parameters + layers * 2 * 128)


_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"

KNOWN: dict[str, Architecture] = {
    found.name: found
    for found in (
        _qwen2_5("1.5B", 1536, 8960, 28, 12, 2, 151936, tied=True),
        _qwen2_5("3B", 2048, 11008, 36, 16, 2, 151936, tied=True),
        _qwen2_5("7B", 3584, 18944, 28, 28, 4, 152064, tied=False),
        _qwen3("0.6B", 1024, 3072, 28, 16),
        _qwen3("1.7B", 2048, 6144, 28, 16),
        _qwen3("4B", 2560, 9728, 36, 32),
        Architecture(
            _SMOLLM2, 49152, 576, 1536, 30, 9, 3, 64, tied=True, qkv_bias=False, source=f"config.json of {_SMOLLM2}"
        ),
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


_FOUR_TIMES = ("gpt2", "gptj", "gpt_bigcode", "bloom", "falcon", "codegen")


def from_folder(folder: Path) -> Architecture:
    """The sizes of the model in a Hugging Face folder; parameters are counted on a model without storage.

    Raises:
        ConfigError: the folder's config.json is not that of a decoder-only language model over text.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    where = f"actor_rollout_ref.model.path={str(folder)!r}"
    try:
        config = AutoConfig.from_pretrained(folder)
        _check_decoder(config, where)
        with torch.device("meta"):
            counted = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{where}: its config.json does not describe a causal language model ({error})") from error

    def size(name: str, default: Any = None) -> int:
        value = getattr(config, name, None) or default
        if value is None:
            raise ConfigError(
                f"{where}: config.json of a {config.model_type} model lacks {name}, which the plan needs; "
                "plan with a model of a similar size whose config.json has it"
            )
        return int(value)

    heads, hidden = size("num_attention_heads"), size("hidden_size")
    # OPT, Falcon and GPT-2 name the width of their MLP otherwise; where none is given it is four times the hidden size.
    other = (getattr(config, name, None) for name in ("ffn_dim", "ffn_hidden_size", "n_inner"))
    mlp = next((value for value in other if value), 4 * hidden if config.model_type in _FOUR_TIMES else None)
    # Falcon's multi-query attention has one head of keys and values.
    one_head = getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False)
    kv_heads = 1 if one_head else size("num_key_value_heads", getattr(config, "num_kv_heads", None) or heads)
    latent = getattr(config, "kv_lora_rank", None)
    return Architecture(
        str(folder),
        vocab=size("vocab_size"),
        hidden=hidden,
        intermediate=size("intermediate_size", mlp),
        layers=size("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=size("head_dim", hidden // heads),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        qkv_bias=False,
        counted=counted,
        source=f"{folder}/config.json, parameters counted",
        latent=None if latent is None else latent + size("qk_rope_head_dim"),
    )


def _check_decoder(config: Any, where: str) -> None:
    """Raise ConfigError with the reason unless the model is a decoder of text alone."""
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    kind = config.model_type
    if config.is_encoder_decoder:
        reason, fix = "has an encoder beside its decoder", "use a decoder-only language model"
    elif config.get_text_config() is not config:
        reason, fix = "reads images or sound beside text", "use a model of text alone"
    elif type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        reason, fix = "is an encoder, which does not generate text", "use a decoder-only language model"
    else:
        return
    raise ConfigError(f"{where}: its config.json is of type {kind}, which {reason}; {fix}")
