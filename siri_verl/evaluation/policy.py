# SPDX-License-Identifier: Apache-2.0
"""A trained model that answers prompts in this process: which folder holds its weights, and the light engine on it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from siri_verl.evaluation.adapters import fold_adapters
from siri_verl.training.run_config import TRACKER

PREFILL_TOKENS, PREFIX_CACHE_BYTES = 2048, 256 << 20
"""As the light server's defaults (siri_verl/rollout/light_server.py)."""


class ModelFolderError(ValueError):
    """A path leads to no model. The message says where it was looked for and what to give."""


@dataclass(frozen=True)
class ModelSource:
    """Where a model's weights are.

    Attributes:
        folder: of a Hugging Face model, or, with `shards`, verl's actor folder.
        shards: the weights are verl's FSDP shards and have to be merged.
        name: what the model is called in reports.
    """

    folder: Path
    shards: bool
    name: str


def find_model(path: Path | str) -> ModelSource:
    """The model at a path: a Hugging Face folder, a verl checkpoint (`global_step_N`, its `actor` folder or that one's
    `huggingface` folder), or a run's folder, whose newest checkpoint it is then.

    Raises:
        ModelFolderError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelFolderError(f"model {path}: no such folder; give a Hugging Face folder or a checkpoint of a run")
    start = path
    if (path / TRACKER).is_file():
        start = path / f"global_step_{(path / TRACKER).read_text(encoding='utf-8').strip()}"
    actor = start / "actor" if (start / "actor").is_dir() else start
    # verl keeps configuration and tokenizer in `huggingface`, the weights beside them unless hf_model is saved.
    if actor.name == "huggingface" and not _has_weights(actor):
        actor = actor.parent
    checkpoint = actor.parent if actor.name == "actor" else actor
    name = f"{path.name}/{checkpoint.name}" if start != path else checkpoint.name
    candidates = [actor, actor / "huggingface", actor / "model" / "huggingface"]
    for folder in candidates:
        if (folder / "config.json").is_file() and _has_weights(folder):
            return ModelSource(folder, False, name)
    if (actor / "fsdp_config.json").is_file() and (actor / "huggingface" / "config.json").is_file():
        return ModelSource(actor, True, name)
    looked = ", ".join(map(str, candidates))
    raise ModelFolderError(
        f"model {path}: no weights there. Looked for a Hugging Face model in {looked}, and for verl's FSDP shards in "
        f"{actor}. Save checkpoints (trainer.save_freq), or merge another backend's with `python -m verl.model_merger`"
    )


def _has_weights(folder: Path) -> bool:
    return any(True for pattern in ("*.safetensors", "pytorch_model*.bin") for _ in folder.glob(pattern))


@contextmanager
def model_folder(source: ModelSource) -> Iterator[Path]:
    """The Hugging Face folder of a model. Shards are merged by verl's own merger, in bfloat16, into a folder that is
    gone afterwards; adapters are folded in.

    Raises:
        RuntimeError: verl's merger failed; the message ends with what it said.
    """
    if not source.shards:
        yield source.folder
        return
    with tempfile.TemporaryDirectory(prefix="siri_merged_") as target:
        command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", "fsdp"]
        command += ["--local_dir", str(source.folder), "--target_dir", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not _has_weights(Path(target)):
            raise RuntimeError(
                f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
            )
        fold_adapters(Path(target))
        yield Path(target)


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

        from siri_verl.rollout.light_engine import LightEngine
        from siri_verl.rollout.light_model import LightModel, load_model

        config = AutoConfig.from_pretrained(folder)
        length = max_prompt_length + max_response_length
        limit = getattr(config, "max_position_embeddings", length)
        if length > limit:
            raise ValueError(
                f"data.max_prompt_length={max_prompt_length} and data.max_response_length={max_response_length}: "
                f"together more than the model's {limit} positions"
            )
        self.tokenizer = hf_tokenizer(str(folder))
        self.sampling, self.max_response_length = sampling, max_response_length
        # What ends a reply: the tokenizer's end token, and those the generation config names (one or several).
        named = getattr(get_generation_config(str(folder)), "eos_token_id", None)
        ends = [self.tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])]
        model = load_model(config, str(folder), PrecisionType.to_dtype(dtype), device)
        self.engine = LightEngine(
            LightModel(model, PREFILL_TOKENS, PREFIX_CACHE_BYTES),
            decode=self.tokenizer.decode,
            eos_token_ids=[int(i) for i in ends if i is not None],
            valid_vocab=min(len(self.tokenizer), config.vocab_size),
            max_model_len=length,
            max_running=max_running,
        )

    def submit(self, name: str, prompt_ids: list[int], seed: int) -> Future:
        """Ask for a reply; the future gives its token ids."""
        from siri_verl.rollout.light_sampling import SamplingParams

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
