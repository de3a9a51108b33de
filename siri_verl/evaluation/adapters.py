# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""LoRA adapters beside a model: folded into its weights, so that what is evaluated is the policy that was trained."""

from __future__ import annotations

from pathlib import Path

ADAPTER_FOLDER = "lora_adapter"
"""Where verl's merger puts them (verl/model_merger/base_model_merger.py)."""


def fold_adapters(folder: Path) -> bool:
    """Replace the weights of a Hugging Face folder by weights plus adapters, where it has adapters.

    verl's merger writes the base model's weights and the adapters side by side; loading the folder alone would silently
    give the model that training began with.

    Args:
        folder: the merged model's.

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
