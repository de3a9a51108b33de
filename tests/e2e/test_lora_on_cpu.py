# SPDX-License-Identifier: Apache-2.0
"""LoRA in verl's trainer on a CPU: the reference is the model without its adapters, the rollout has them, and what is
evaluated after the run has them too."""

import pytest
import torch
from support.toy_run import STEPS, check_run, train, write_inputs
from transformers import AutoModelForCausalLM

from siri_verl.runs.models import find_model, model_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # two minutes on two free cores


def test_adapters_are_trained_served_and_evaluated(tmp_path):
    inputs = write_inputs(tmp_path)
    train(
        inputs,
        tmp_path / "run",
        *("actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.model.lora_alpha=16"),
        # the light server takes whole weights
        *("actor_rollout_ref.model.lora.rank=8", "actor_rollout_ref.model.lora.merge=True"),
        *("actor_rollout_ref.actor.use_kl_loss=True", "actor_rollout_ref.actor.optim.lr=1e-3"),
        # as the presets for GPUs: shards alone, merged when they are evaluated
        "actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra]",
    )
    # verl sends merged weights in bfloat16
    metrics = check_run(tmp_path / "run", probs_differ=0.1)
    # before the first optimizer step policy and reference are one model, afterwards the adapters tell them apart
    assert metrics[STEPS]["actor/kl_loss"] > 0
    source = find_model(tmp_path / "run")
    assert source.shards
    before = dict(AutoModelForCausalLM.from_pretrained(inputs / "model").named_parameters())
    with model_folder(source) as folder:
        after = dict(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).named_parameters())
    assert before.keys() == after.keys()
    change = {name: (after[name] - before[name]).abs().max().item() for name in before}
    adapted = [name for name in change if name.endswith("_proj.weight")]
    assert adapted and max(change[name] for name in adapted) > 1e-4, "the adapters are in the weights"
