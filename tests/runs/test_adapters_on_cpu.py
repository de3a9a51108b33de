# SPDX-License-Identifier: Apache-2.0
"""Adapters are in the weights that are evaluated: verl's own merger writes the folder, peft's model is the measure."""

from types import SimpleNamespace

import torch
from peft import LoraConfig, get_peft_model
from support.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM
from verl.model_merger.base_model_merger import BaseModelMerger

from siri_verl.runs.adapters import merge_adapters


def trained(folder):
    """The model with adapters that do something."""
    torch.manual_seed(0)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def as_verls_merger_writes_it(model, target, base):
    """verl/model_merger: adapters into their folder, the base model's weights beside it."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    merger = SimpleNamespace(
        config=SimpleNamespace(target_dir=str(target)),
        _load_lora_train_meta=lambda: {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"},
    )
    BaseModelMerger.save_lora_adapter(merger, state)
    plain = AutoModelForCausalLM.from_pretrained(base)
    missing = plain.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    plain.save_pretrained(target)


def test_the_folder_gives_what_the_model_with_adapters_gives(tmp_path):
    base = make_tiny_model(tmp_path / "base")
    model = trained(base)
    merged = tmp_path / "merged"
    as_verls_merger_writes_it(model, merged, base)
    tokens = torch.tensor([[3, 5, 8, 13, 4]])
    with torch.no_grad():
        wanted = model(tokens).logits
        plain = AutoModelForCausalLM.from_pretrained(base)(tokens).logits
        before = AutoModelForCausalLM.from_pretrained(merged)(tokens).logits
        assert (before - plain).abs().max() < 1e-5 < (wanted - plain).abs().max(), "without folding they are lost"
        assert merge_adapters(merged) is True
        after = AutoModelForCausalLM.from_pretrained(merged)(tokens).logits
    assert (after - wanted).abs().max() < 1e-4


def test_a_model_without_adapters_is_left_alone(tmp_path):
    base = make_tiny_model(tmp_path / "base")
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    assert merge_adapters(base) is False
    assert {path.name: path.read_bytes() for path in base.iterdir()} == files
