# SPDX-License-Identifier: Apache-2.0
"""verl's FSDP2 engines on the CPU: a policy with a language-model head and a critic with a value head."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from verl.utils import tensordict_utils as tu
from verl.utils.torch_dtypes import PrecisionType
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngine, FSDPEngineWithLMHead, FSDPEngineWithValueHead

from siri_verl.platform.attention import IMPLEMENTATION as PACKED
from siri_verl.pretrained.attention import unmodelled


class CpuFsdpMixin(FSDPEngine):
    """What differs on a CPU: the checks of the settings, and no offload for a forward-only engine."""

    def __init__(self, model_config, engine_config, optimizer_config, checkpoint_config):
        if engine_config.strategy != "fsdp2":
            raise ValueError(
                f"engine strategy={engine_config.strategy!r} cannot run on a CPU: set strategy=fsdp2 "
                "(actor_rollout_ref.actor.strategy, critic.strategy; engine.strategy in the SFT trainer)"
            )
        if engine_config.param_offload or engine_config.optimizer_offload or engine_config.offload_policy:
            raise ValueError(
                "param_offload, optimizer_offload and offload_policy move tensors from an accelerator to the CPU: "
                "set all three to False on a CPU"
            )
        super().__init__(model_config, engine_config, optimizer_config, checkpoint_config)

    def _build_module(self):
        return self._with_packed_attention(super()._build_module())

    def _with_packed_attention(self, module):
        if self.use_remove_padding:
            if reason := unmodelled(module.config):
                raise ValueError(
                    f"model type {module.config.model_type!r}: sequences cannot be packed on a CPU, for {reason}; set "
                    "model.use_remove_padding=False and model.override_config.attn_implementation=eager"
                )
            # Only on the module: the configuration that checkpoints save stays free of the name.
            module.set_attn_implementation(PACKED)
        return module

    def _build_fsdp_module(self, module):
        if not self.engine_config.forward_only:
            return super()._build_fsdp_module(module)
        # verl keeps a forward-only (reference) model in pinned host memory, which a CPU build of torch refuses and
        # a CPU has no use for: the module is sharded like a trained one.
        config = self.engine_config
        self.engine_config = dataclasses.replace(config, forward_only=False)
        try:
            return super()._build_fsdp_module(module)
        finally:
            self.engine_config = config


_RARE = ("use_fused_kernels", "calculate_sum_pi_squared", "distillation_only")


@EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")
class CpuFsdpEngineWithLMHead(CpuFsdpMixin, FSDPEngineWithLMHead):
    """Policy engine, device cpu."""

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        """Log-probs and entropies of a packed micro-batch, all tokens at once.

        Without flash attention's cross entropy verl takes the log-probs token by token, to save the memory of large
        vocabularies; that loop costs a small model as much as its matrix products.
        """

        def flag(name: str, default: bool = False) -> bool:
            return tu.get_non_tensor_data(data=micro_batch, key=name, default=default)

        if not flag("use_remove_padding", True) or any(flag(name) for name in _RARE):
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        logits = output.logits.squeeze(0)  # (tokens, vocab)
        if not output_args.get("temperature_is_one", False):
            logits = logits / output_args["temperature_rmpad"].clamp(min=1e-8)[:, None]
        labels = output_args["input_ids_rmpad_rolled"]
        found = {"log_probs": -F.cross_entropy(logits, labels, reduction="none")}
        if flag("calculate_entropy"):
            found["entropy"] = self.compute_entropy_from_logits(logits)
        if flag("distillation_use_topk"):
            values = logits_processor_func(student_logits=logits[None], data=micro_batch)
            found.update({name: value[0] for name, value in values.items()})
        offsets = micro_batch["input_ids"].offsets()
        return {
            name: torch.nested.nested_tensor_from_jagged(
                self._gather_and_unpad_packed(value, output_args["pad_size"]), offsets
            )
            for name, value in found.items()
        }


@EngineRegistry.register(model_type="value_model", backend=["fsdp", "fsdp2"], device="cpu")
class CpuFsdpEngineWithValueHead(CpuFsdpMixin, FSDPEngineWithValueHead):
    """Critic engine, device cpu."""

    def _build_module(self):
        # verl's loader requests flash attention whatever the configuration is.
        from transformers import AutoModelForTokenClassification

        config = self.model_config.hf_config
        config.num_labels = 1
        config.classifier_dropout = config.hidden_dropout = 0.0
        module = AutoModelForTokenClassification.from_pretrained(
            self.model_config.local_path,
            config=config,
            dtype=PrecisionType.to_dtype(self.engine_config.model_dtype or "fp32"),
            attn_implementation="sdpa",
            trust_remote_code=self.model_config.trust_remote_code,
        )
        if self.model_config.enable_gradient_checkpointing:
            module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return self._with_packed_attention(module)
