# SPDX-License-Identifier: Apache-2.0
"""Turns per second of the light engine and of transformers' generate, same model, same prompts, one core.

OMP_NUM_THREADS=1 python benchmarks/light_server/bench.py [--hidden 128 --layers 3 --requests 128]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams

VOCAB = 1024
Prompts = list[list[int]]


def measure(run: Callable[[Prompts], None], make: Callable[[], Prompts], rounds: int) -> float:
    """Best turns per second of processor time over some rounds of fresh prompts."""
    run(make())
    best = 0.0
    for _ in range(rounds):
        prompts = make()
        start = time.process_time()
        run(prompts)
        best = max(best, len(prompts) / (time.process_time() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--requests", type=int, default=128)
    parser.add_argument("--prompt", type=int, default=200)
    parser.add_argument("--reply", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = Qwen2Config(
        vocab_size=VOCAB,
        hidden_size=args.hidden,
        intermediate_size=2 * args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = load_model(config, None, torch.float32)
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    theirs.load_state_dict(model.state_dict())
    engine = LightEngine(LightModel(model, 2048, 256 << 20), lambda ids: "", [], VOCAB, 1024)
    rng = np.random.default_rng(0)

    def prompts(shared: int, group: int) -> Callable[[], Prompts]:
        """Prompts that share a beginning, or whole within groups; lengths spread by 15 percent."""

        def make() -> Prompts:
            head = rng.integers(0, VOCAB, shared).tolist()
            spread = int(0.15 * args.prompt)
            lengths = args.prompt - shared + rng.integers(-spread, spread + 1, args.requests // group)
            distinct = [head + rng.integers(0, VOCAB, n).tolist() for n in lengths]
            return [p for p in distinct for _ in range(group)]

        return make

    def light(batch: Prompts) -> None:
        params = [SamplingParams(max_tokens=args.reply, seed=i, logprobs=True) for i in range(len(batch))]
        for future in [engine.submit(str(i), p, s) for i, (p, s) in enumerate(zip(batch, params, strict=True))]:
            future.result()

    def generate(batch: Prompts) -> None:
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(p)) + p for p in batch])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in batch])
        kwargs = {"max_new_tokens": args.reply, "min_new_tokens": args.reply, "pad_token_id": 0, "do_sample": True}
        with torch.inference_mode():
            theirs.generate(input_ids=ids, attention_mask=mask, top_k=0, **kwargs)

    size = sum(p.numel() for p in model.parameters()) / 1e6
    print(
        f"{size:.2f}M parameters, {args.requests} requests at once, prompts of {args.prompt}, replies of {args.reply}"
    )
    base = measure(generate, prompts(0, 1), args.rounds)
    print(f"{'transformers generate, distinct prompts':44s} {base:8.0f} turns/s")
    for name, shared, group in (
        ("light, distinct prompts", 0, 1),
        ("light, a third of the prompt shared by all", args.prompt // 3, 1),
        ("light, groups of 8 with one prompt", 0, 8),
    ):
        rate = measure(light, prompts(shared, group), args.rounds)
        print(f"{name:44s} {rate:8.0f} turns/s   {rate / base:.1f} x")
    engine.close()


if __name__ == "__main__":
    main()
