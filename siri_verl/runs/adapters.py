# SPDX-License-Identifier: Apache-2.0
"""Merges LoRA adapters beside a model into its weights, so that the trained policy is evaluated."""

from __future__ import annotations

from pathlib import Path

ADAPTER_FOLDER = "lora_adapter"
"""Where verl's merger puts them (verl/model_merger/base_model_merger.py)."""


def merge_adapters(folder: Path) -> bool:
    """Replace the weights in a Hugging Face folder by weights plus adapters, if it has adapters.

    verl's merger writes the base model's weights and the adapters side by side. Loading the folder as it is gives the
    model that training began with.

    Args:
        folder: written by verl's merger.

    Returns:
        Whether there were adapters.
    """
    adapters = folder / ADAPTER_FOLDER
    if not adapters.is_dir():
        return False
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    PeftModel.from_pretrained(base, adapters).merge_and_unload().save_pretrained(folder)
    return True
