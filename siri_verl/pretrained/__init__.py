# SPDX-License-Identifier: Apache-2.0
"""Pretrained models as Hugging Face folders: from a GGUF file; SmolLM2-135M-Instruct from hub or package."""
