# SPDX-License-Identifier: Apache-2.0
"""A trained model that answers prompts in this process, on the light engine."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn, the same for every request."""

    temperature: float = 1.0
    """0 takes the most likely token."""
    top_p: float = 1.0
    """Share of probability kept."""
    top_k: int = -1
    """Number of tokens kept; -1 keeps all."""


class LightPolicy:
    """A model on the light engine of this process; requests of many episodes share its batches.

    Args:
        folder: Hugging Face folder.
        sampling: of every request.
        max_prompt_length: tokens of the longest prompt.
        max_response_length: tokens of the longest reply.
        dtype: precision of the weights, for example "float32".
        device: "cpu" or "cuda".
        max_running: requests in one batch.

    Raises:
        ValueError: prompt and reply together do not fit into the model.
    """

    def __init__(
        self,
        folder: Path | str,
        sampling: Sampling,
        *,
        max_prompt_length: int,
        max_response_length: int,
        dtype: str = "float32",
        device: str = "cpu",
        max_running: int = 256,
    ):
        from transformers import AutoConfig
        from verl.utils import hf_tokenizer
        from verl.utils.model import get_generation_config
        from verl.utils.torch_dtypes import PrecisionType

        from siri_verl.light.engine import LightEngine
        from siri_verl.light.model import LightModel, load_model
        from siri_verl.light.settings import check_length, drawn_tokens
        from siri_verl.settings.light import LightSettings

        config = AutoConfig.from_pretrained(folder)
        length = max_prompt_length + max_response_length
        lengths = f"data.max_prompt_length={max_prompt_length} + data.max_response_length={max_response_length}"
        check_length(config, length, lengths)
        self.tokenizer = hf_tokenizer(str(folder))
        self.sampling, self.max_response_length = sampling, max_response_length
        ends, valid_vocab = drawn_tokens(config, self.tokenizer, get_generation_config(str(folder)))
        light = LightSettings()
        model = load_model(config, str(folder), PrecisionType.to_dtype(dtype), device)
        self.engine = LightEngine(
            LightModel(model, light.prefill_tokens, light.prefix_cache_mb << 20),
            decode=self.tokenizer.decode,
            eos_token_ids=ends,
            valid_vocab=valid_vocab,
            max_model_len=length,
            max_running=max_running,
        )

    def submit(self, name: str, prompt_ids: list[int], seed: int) -> Future:
        """Ask for a reply; the future gives its token ids."""
        from siri_verl.light.sampling import SamplingParams

        params = {**asdict(self.sampling), "max_tokens": self.max_response_length, "seed": seed}
        answer: Future = Future()

        def done(completion: Future) -> None:
            error = completion.exception()
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(completion.result().token_ids)

        self.engine.submit(name, prompt_ids, SamplingParams.from_mapping(params)).add_done_callback(done)
        return answer

    def close(self) -> None:
        """End the engine's thread."""
        self.engine.close()
