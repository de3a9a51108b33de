# SPDX-License-Identifier: Apache-2.0
"""The batch on which the tests run verl's engines: responses written by the light engine, with its log-probs."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig

from siri_verl.light.engine import LightEngine
from siri_verl.light.model import LightModel, load_model
from siri_verl.light.sampling import SamplingParams

ROWS = 8
TEMPERATURE = 0.7


def make_rows(model: Path, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    """Rows of unequal length with everything verl's PPO and value losses read."""
    rng = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(3, 259, (5 + 9 * (i % 3),), generator=rng) for i in range(ROWS)]
    light = LightModel(load_model(AutoConfig.from_pretrained(model), str(model), torch.float32), 64, 0)
    engine = LightEngine(light, lambda ids: "", [], 259, 1024)
    wanted = [
        SamplingParams(temperature=TEMPERATURE, max_tokens=4 + 5 * (i % 4), seed=i, logprobs=True) for i in range(ROWS)
    ]
    pending = [engine.submit(str(i), p.tolist(), w) for i, (p, w) in enumerate(zip(prompts, wanted, strict=True))]
    replies = [f.result(timeout=60) for f in pending]
    engine.close()
    rows = []
    for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
        response = torch.tensor(reply.token_ids)
        n = len(response)
        mask = torch.ones(n, dtype=torch.int64)
        mask[1 : 1 + i % 2] = 0
        sampled = torch.tensor(reply.log_probs)
        rows.append(
            {
                "prompts": prompt,
                "responses": response,
                "input_ids": torch.cat([prompt, response]),
                "position_ids": torch.arange(len(prompt) + n),
                "response_mask": mask,
                "loss_mask": mask,
                "advantages": torch.randn(n, generator=rng),
                "returns": torch.randn(n, generator=rng),
                "values": torch.randn(n, generator=rng) * 0.1,
                "rollout_log_probs": sampled,
                # off the present policy, so that some ratios are clipped
                "old_log_probs": sampled + 0.2 * torch.randn(n, generator=rng),
            }
        )
    return rows
