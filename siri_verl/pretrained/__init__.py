# SPDX-License-Identifier: Apache-2.0
"""Pretrained models as Hugging Face folders: from a GGUF file, and SmolLM2-135M-Instruct from wherever it can be had."""
