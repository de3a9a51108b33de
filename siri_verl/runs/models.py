# SPDX-License-Identifier: Apache-2.0
"""Finds the weights of a trained model: in a Hugging Face folder, a checkpoint, or a run's newest checkpoint."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from siri_verl.runs.adapters import merge_adapters
from siri_verl.runs.folder import RunFolder

SAMPLED_BYTES = 1 << 20
"""Of the beginning and of the end of a weight file, for the fingerprint."""


class ModelFolderError(ValueError):
    """A path holds no model. The message names the places searched and what to give."""


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

    @property
    def weights(self) -> str:
        """How the weights are loaded, for reports."""
        return "merged from shards, in bfloat16" if self.shards else "as saved"

    def fingerprint(self) -> str:
        """A hash over sizes, beginnings and ends of the weight files: it tells models apart without reading all of
        a large one."""
        digest = hashlib.sha256()
        patterns = ("*.safetensors", "*.bin", "model_world_*.pt")
        files = [path for pattern in patterns for path in self.folder.glob(pattern)]
        for path in sorted(files, key=lambda p: p.name):
            size = path.stat().st_size
            with open(path, "rb") as file:
                digest.update(f"{size}".encode())
                digest.update(file.read(SAMPLED_BYTES))
                file.seek(max(size - SAMPLED_BYTES, 0))
                digest.update(file.read(SAMPLED_BYTES))
        return digest.hexdigest()[:16]


def find_model(path: Path | str) -> ModelSource:
    """The model at a path.

    Args:
        path: a Hugging Face folder, a checkpoint (`global_step_N`, its `actor` folder or the `huggingface` folder in
            that), or a run's folder, whose newest checkpoint is taken.

    Raises:
        ModelFolderError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise ModelFolderError(f"model {path}: no such folder; give a Hugging Face folder or a checkpoint of a run")
    newest = RunFolder(path).newest_checkpoint()
    start = newest.path if newest else path
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
    """The Hugging Face folder of a model. Shards are merged by verl's own merger, in bfloat16, into a temporary folder,
    and LoRA adapters into the weights.

    Raises:
        RuntimeError: verl's merger failed; the message ends with its output.
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
        merge_adapters(Path(target))
        yield Path(target)
