# SPDX-License-Identifier: Apache-2.0
"""A randomly initialised Qwen2 with a tokenizer of one token per byte: needs no download.

python -m siri_verl.acceptance.model --size 0.5b --out DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

from siri_verl.outputs import exclusive, new_folder

SIZES = {
    "0.5b": dict(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2,
    ),
    "tiny": dict(
        vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    ),
}  # fmt: skip
"""0.5b: as config.json of Qwen/Qwen2.5-0.5B. The tokenizer uses the first ids of the vocabulary."""
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_random_model(out: Path, size: str, seed: int = 0) -> None:
    """Write the model as a Hugging Face folder in bfloat16's precision, complete or not at all.

    Raises:
        FileExistsError: `out` holds something.
        KeyError: an unknown size.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    pieces = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(_SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=_CHAT_TEMPLATE
    )
    ids = dict(eos_token_id=2, pad_token_id=0, bos_token_id=None)
    config = Qwen2Config(**SIZES[size], max_position_embeddings=4096, tie_word_embeddings=True, **ids)
    with exclusive(out), new_folder(out) as folder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # The weights are numbers of bfloat16, so that both precisions start from the same.
            model = Qwen2ForCausalLM(config).to(torch.bfloat16).to(torch.float32)
        model.generation_config.update(eos_token_id=2, pad_token_id=0)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def main() -> None:
    """Write the model unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not (args.out / "config.json").is_file():
        write_random_model(args.out, args.size)


if __name__ == "__main__":
    main()
