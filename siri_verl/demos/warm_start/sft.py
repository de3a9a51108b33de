# SPDX-License-Identifier: Apache-2.0
"""verl's own SFT trainer on the rows of a warm start, on CPU."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Writer = Callable[[Path], int]
"""Writes something to a path and returns its size in rows or parameters."""
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class SftSettings:
    """How rows are learned.

    Attributes:
        max_length: tokens of the longest row; a longer one is an error, never cut.
        batch_size: rows per optimizer step.
        threads: of the trainer.
    """

    max_length: int
    batch_size: int = 32
    learning_rate: float = 2.5e-3
    epochs: int = 1
    threads: int = 1
    seed: int = 0


def sft_command(rows: Path, model: Path, checkpoints: Path, settings: SftSettings, overrides: list[str]) -> list[str]:
    """The command line of verl's SFT trainer."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"),
        *("-m", "verl.trainer.sft_trainer", "+siri=sft_cpu"),
        f"data.train_files={rows}",
        f"data.train_batch_size={settings.batch_size}",
        f"data.max_length={settings.max_length}",
        "data.truncation=error",
        "data.use_dynamic_bsz=true",
        "data.max_token_len_per_gpu=8192",
        f"model.path={model}",
        "model.use_remove_padding=true",
        f"optim.lr={settings.learning_rate}",
        "optim.lr_scheduler_type=cosine",
        "optim.lr_warmup_steps_ratio=0.03",
        "optim.min_lr_ratio=0.05",
        "optim.betas=[0.9,0.95]",
        f"engine.seed={settings.seed}",
        f"trainer.seed={settings.seed}",
        f"trainer.total_epochs={settings.epochs}",
        f"trainer.default_local_dir={checkpoints}",
        "trainer.project_name=siri_verl",
        "trainer.experiment_name=warm_start",
        "trainer.resume_mode=disable",
        *overrides,
    ]


def run_sft(
    out: Path | str,
    settings: SftSettings,
    write_rows: Writer,
    write_model: Writer,
    overrides: list[str] | None = None,
) -> Path:
    """Make rows and model, run verl's SFT trainer, and collect the result.

    Writes into `out`: `rows.parquet`, `initial/` (the untrained model), `checkpoints/` (verl's) and `model/`, the
    Hugging Face folder that reinforcement learning starts from.

    Returns:
        The folder of the trained model.

    Raises:
        FileExistsError: `out` holds a trained model already.
        RuntimeError: the trainer failed or left no model; its output stands above.
    """
    out = Path(out)
    result = out / "model"
    if result.exists():
        raise FileExistsError(f"out: {result} is there already; choose another folder or remove it")
    checkpoints = out / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    rows, initial = out / "rows.parquet", out / "initial"
    count = write_rows(rows)
    parameters = write_model(initial)
    print(f"warm start: {count} rows, {parameters} parameters", flush=True)
    began = time.monotonic()
    environment = os.environ | {"OMP_NUM_THREADS": str(settings.threads), "TOKENIZERS_PARALLELISM": "false"}
    command = sft_command(rows, initial, checkpoints, settings, overrides or [])
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"verl's SFT trainer ended with status {done.returncode}; command: {' '.join(command)}")
    found = sorted(checkpoints.glob("global_step_*/huggingface"), key=lambda p: int(p.parent.name.rsplit("_", 1)[1]))
    if not found or not any(found[-1].glob("*.safetensors")):
        raise RuntimeError(f"verl's SFT trainer left no Hugging Face folder with weights under {checkpoints}")
    shutil.copytree(found[-1], result)
    _say_float32(result / "config.json")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = f"{time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time"
    print(f"warm start: {spent}; model in {result}", flush=True)
    return result


def _say_float32(config: Path) -> None:
    """verl saves float32 weights under a config that names bfloat16, in which transformers would load them."""
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields["dtype"] = "float32"
    config.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


def parse_arguments(description: str, defaults: Settings) -> tuple[Path, Settings, list[str]]:
    """Command line of a warm start: --out, a flag per field of `defaults`, and overrides of verl's SFT trainer."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    for name, default in vars(defaults).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("overrides", nargs="*", help="further settings of verl's SFT trainer")
    args = parser.parse_args()
    settings = type(defaults)(**{name: getattr(args, name) for name in vars(defaults)})
    return Path(args.out), settings, args.overrides
