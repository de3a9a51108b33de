# SPDX-License-Identifier: Apache-2.0
"""The light server and the loss on a device in bfloat16 against float32 on the host.

    python -m siri_verl.acceptance.parity --model DIR --device cuda --out parity.json

On the CPU the device computes in float32 too, and the differences are rounding.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from siri_verl.files import write_text_atomically

REQUESTS, PROMPT, REPLY = 8, 64, 24
BOUNDS = {
    "bfloat16": {"log_prob_mean": 0.05, "log_prob_max": 1.0, "loss": 0.05, "gradient_cosine": 0.98},
    "float32": {"log_prob_mean": 1e-4, "log_prob_max": 1e-3, "loss": 1e-3, "gradient_cosine": 0.9999},
}
"""Largest differences, and the smallest cosine of the gradients. bfloat16 has 8 bits of precision: a logit of 10 is
rounded by up to 0.03."""


def written(folder: Path, device: str, dtype: torch.dtype) -> list[tuple[list[int], Any]]:
    """(prompt, completion) of the light engine for prompts of random tokens."""
    from transformers import AutoConfig, AutoTokenizer

    from siri_verl.light.engine import LightEngine
    from siri_verl.light.model import LightModel, load_model
    from siri_verl.light.sampling import SamplingParams

    tokenizer = AutoTokenizer.from_pretrained(folder)
    light = LightModel(load_model(AutoConfig.from_pretrained(folder), str(folder), dtype, device), 2048, 1 << 24)
    engine = LightEngine(light, tokenizer.decode, (), len(tokenizer), max_model_len=PROMPT + REPLY)
    rng = torch.Generator().manual_seed(0)
    prompts = torch.randint(len(tokenizer), (REQUESTS, PROMPT), generator=rng).tolist()
    asked = [SamplingParams(temperature=1.0, max_tokens=REPLY, seed=k, logprobs=True) for k in range(REQUESTS)]
    try:
        futures = [engine.submit(str(k), p, a) for k, (p, a) in enumerate(zip(prompts, asked, strict=True))]
        return [(prompt, future.result(timeout=600)) for prompt, future in zip(prompts, futures, strict=True)]
    finally:
        engine.close()


def loss_and_gradient(
    folder: Path, replies: list[tuple[list[int], Any]], device: str, dtype: torch.dtype
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """(log-probs of the replies (requests, tokens), loss, gradient of the last norm and the embedding) of siri_verl's
    loss: half of the rows carry advantages, half are internalized."""
    from tensordict import TensorDict
    from transformers import AutoModelForCausalLM
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import ActorConfig

    from siri_verl.training.loss import LAMBDA, WEIGHT_COLUMN, siri_loss

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    ids = torch.tensor([prompt + done.token_ids for prompt, done in replies], device=device)
    with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
        logits = model(ids).logits[:, :-1].float()
    every = -F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)
    log_probs = every[:, PROMPT - 1 :]
    packed = F.pad(every, (0, 1)).flatten()  # verl's engine gives at each token the log-prob of the next

    def jagged(rows: torch.Tensor) -> torch.Tensor:
        return torch.nested.as_nested_tensor(list(rows.to(device)), layout=torch.jagged)

    policy = REQUESTS // 2
    is_policy = (torch.arange(REQUESTS) < policy).float()[:, None].expand(REQUESTS, REPLY)
    rng = torch.Generator().manual_seed(1)
    advantages = torch.randn(REQUESTS, 1, generator=rng).expand(REQUESTS, REPLY) * is_policy
    old = torch.tensor([done.log_probs for _, done in replies])
    data = TensorDict(
        {
            "prompts": jagged(ids[:, :PROMPT]),
            "responses": jagged(ids[:, PROMPT:]),
            "response_mask": jagged(is_policy),
            "old_log_probs": jagged(old),
            "advantages": jagged(advantages),
            WEIGHT_COLUMN: jagged((1 - is_policy) / (REQUESTS * REPLY)),
        },
        batch_size=[REQUESTS],
    )
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=policy * REPLY, global_batch_size=policy, **{LAMBDA: 1.0})
    config = ActorConfig(
        strategy="fsdp2", rollout_n=2, ppo_mini_batch_size=2, use_dynamic_bsz=True, entropy_coeff=0.0, use_kl_loss=False
    )
    loss, _ = siri_loss(config, {"log_probs": packed}, data)
    loss.backward()
    found = [model.model.norm.weight.grad, model.get_input_embeddings().weight.grad]
    gradient = torch.cat([grad.flatten().float().cpu() for grad in found])
    return log_probs.detach().cpu(), loss.item(), gradient


def compare(folder: Path, device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Differences between the device in this precision and float32 on the host, with their bounds."""
    replies = written(folder, device, dtype)
    served = torch.tensor([done.log_probs for _, done in replies])
    expected, loss, gradient = loss_and_gradient(folder, replies, "cpu", torch.float32)
    _, other_loss, other_gradient = loss_and_gradient(folder, replies, device, dtype)
    name = str(dtype).removeprefix("torch.")
    difference = (served - expected).abs()
    values = {
        "log_prob_mean": float(difference.mean()),
        "log_prob_max": float(difference.max()),
        "loss": abs(other_loss - loss) / max(abs(loss), 1e-3),
        "gradient_cosine": float(F.cosine_similarity(other_gradient, gradient, dim=0)),
    }
    bounds = BOUNDS[name]
    wrong = [
        key for key, value in values.items()
        if not (value >= bounds[key] if key == "gradient_cosine" else value <= bounds[key])
    ]  # fmt: skip
    return {"device": device, "dtype": name, "values": values, "bounds": bounds, "outside": wrong}


def main() -> None:
    """Write the comparison; exit code 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found = compare(args.model, args.device, torch.float32 if args.device == "cpu" else torch.bfloat16)
    write_text_atomically(args.out, json.dumps(found, indent=2) + "\n")
    raise SystemExit(1 if found["outside"] else 0)


if __name__ == "__main__":
    main()
