# SPDX-License-Identifier: Apache-2.0
"""Writes the plain policy of a run as a Hugging Face folder, to be used without a skill bank."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from siri_verl.files import write_text_atomically
from siri_verl.outputs import exclusive, new_folder
from siri_verl.runs.folder import CheckpointFolder, RunFolder
from siri_verl.runs.models import ModelFolderError, ModelSource, find_model, model_folder

NOTE = "siri_export.json"
"""File in the folder with the source, step, precision and size of the model."""
SAMPLE = "<think>look around</think><action>go</action>"
"""Text that the exported tokenizer must encode."""


@dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
        folder: where it is.
        model: what it was made from, as reports call it.
        step: training step of the checkpoint, None where the source is no checkpoint.
        weights: whether they were merged from shards.
        dtype: their precision.
        parameters: how many there are.
    """

    folder: str
    model: str
    step: int | None
    weights: str
    dtype: str
    parameters: int

    def describe(self) -> str:
        """In words."""
        step = "no checkpoint of a run" if self.step is None else f"step {self.step}"
        return (
            f"{self.folder}: {self.model}, {step}, {self.parameters:,} parameters, {self.dtype}, {self.weights}; loads"
        )


def export_policy(source: Path, out: Path, *, step: int | None = None, dtype: str | None = None) -> Exported:
    """Write the folder. It is loaded as a check and appears complete or not at all.

    Args:
        source: run, checkpoint or Hugging Face folder.
        out: the folder to be made.
        step: of a run, which checkpoint; None: the newest.
        dtype: precision of the weights; None: as they are.

    Raises:
        FileExistsError: `out` exists, or another process is writing it.
        ModelFolderError: the source holds no model, or no checkpoint of that step.
        RuntimeError: verl's merger failed, or the written folder does not load; it names the weights.
    """
    if out.exists():
        raise FileExistsError(f"--out {out}: exists already; name a new folder, nothing is overwritten")
    found = find_model(_checkpoint(source, step))
    with exclusive(out), new_folder(out) as made:
        with model_folder(found) as folder:
            dtype_written, parameters = _write(folder, made, dtype)
        exported = Exported(
            folder=str(out),
            model=found.name,
            step=_step(found),
            weights="merged from shards by verl, in bfloat16" if found.shards else "as saved",
            dtype=dtype_written,
            parameters=parameters,
        )
        note = {**asdict(exported), "source": str(source.resolve())}
        write_text_atomically(made / NOTE, json.dumps(note, indent=1) + "\n")
    return exported


def _checkpoint(source: Path, step: int | None) -> Path:
    if step is None:
        return source
    folder = RunFolder(source).checkpoint(step).path
    if not folder.is_dir():
        known = ", ".join(map(str, RunFolder(source).checkpoint_steps())) or "none"
        raise ModelFolderError(f"--step {step}: {source} has no {folder.name}; checkpoints are of steps {known}")
    return folder


def _step(found: ModelSource) -> int | None:
    steps = (CheckpointFolder(folder).step for folder in (found.folder, *found.folder.parents))
    return next((step for step in steps if step is not None), None)


def _write(folder: Path, made: Path, dtype: str | None) -> tuple[str, int]:
    """Load the model, write it with its tokenizer, load what was written. Returns (precision, parameters)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from verl.utils.torch_dtypes import PrecisionType

    if dtype is None:
        # Weights and tokenizer byte for byte, without a checkpoint's optimizer states and notes.
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.suffix != ".pt" and file not in (RunFolder(folder).tracker, folder / NOTE):
                shutil.copyfile(file, made / file.name)
        _state_precision(made)
    else:
        wanted = PrecisionType.to_dtype(dtype)
        AutoModelForCausalLM.from_pretrained(folder, dtype=wanted).save_pretrained(made)
        AutoTokenizer.from_pretrained(folder).save_pretrained(made)
    model, loading = AutoModelForCausalLM.from_pretrained(made, dtype="auto", output_loading_info=True)
    # dtype="auto" is the default when the folder is loaded.
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if loading.get(kind):
            raise RuntimeError(f"export of {folder}: {kind.replace('_', ' ')}: {sorted(map(str, loading[kind]))[:5]}")
    tokenizer = AutoTokenizer.from_pretrained(made)
    tokens, known = tokenizer.encode(SAMPLE), model.get_input_embeddings().num_embeddings
    if not tokens or max(tokens) >= known:
        raise RuntimeError(
            f"export of {folder}: {SAMPLE!r} becomes tokens {tokens}; the model knows those below {known}"
        )
    with torch.no_grad():
        bad = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    if bad:
        raise RuntimeError(f"export of {folder}: weights that are not finite: {', '.join(bad[:5])}")
    return str(model.dtype).removeprefix("torch."), sum(p.numel() for p in model.parameters())


def _state_precision(made: Path) -> None:
    """Write the precision of the stored weights into config.json. verl keeps the initial model's there, with which
    float32 weights would be rounded when the folder is loaded."""
    from safetensors import safe_open

    stored = set()
    for file in made.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            stored |= {str(tensors.get_tensor(name).dtype).removeprefix("torch.") for name in tensors.keys()}
    config = json.loads((made / "config.json").read_text(encoding="utf-8"))
    if len(stored) == 1:
        config.pop("torch_dtype", None)
        config["dtype"] = stored.pop()
        write_text_atomically(made / "config.json", json.dumps(config, indent=2) + "\n")
