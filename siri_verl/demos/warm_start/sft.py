# SPDX-License-Identifier: Apache-2.0
"""The warm start of a demo: its rows, a model, untrained or pretrained, and verl's own SFT trainer, on CPU."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from siri_verl.demos.warm_start.rows import Row
from siri_verl.files import write_text_atomically
from siri_verl.outputs import check_free, exclusive, new_folder


@dataclass(frozen=True)
class WarmStartSettings:
    """How many rows are made, and how the model is trained on them. A demo sets the defaults."""

    act: int
    """Episodes; each gives a row per turn, before thinning."""
    follow: int
    """Episodes with a skill text; each gives a row per turn, before thinning."""
    describe: int
    """Trajectories; each gives one row."""
    batch_size: int
    """Rows per optimizer step."""
    learning_rate: float
    epochs: int = 1
    threads: int = 1
    """Threads of the trainer."""
    seed: int = 0
    model: str = ""
    """Hugging Face folder of a pretrained model, which is trained on full prompts; "" makes a tiny model."""
    micro_batch_tokens: int = 8192
    """Tokens of one forward pass: a large vocabulary makes the logits of many take gigabytes."""

    def episodes(self, part: int, parts: int) -> dict[str, int]:
        """Ability -> episodes of one of `parts` nearly equal parts."""
        wanted = {"act": self.act, "follow": self.follow, "describe": self.describe}
        return {ability: n // parts + (part < n % parts) for ability, n in wanted.items()}


Settings = TypeVar("Settings", bound=WarmStartSettings)


@dataclass(frozen=True)
class WarmStart(Generic[Settings]):
    """The warm start of a demo.

    Attributes:
        max_length: tokens of the tiny model's longest row; a longer one is an error and is never cut. A pretrained
            model's rows may fill a forward pass.
        make_rows: settings -> rows, in the order in which they were made.
        make_model: (folder, seed=) -> number of parameters; writes the untrained model.
        pretrained: further fields of the settings that replace their defaults where a pretrained model is trained.
    """

    max_length: int
    make_rows: Callable[[Settings], list[Row]]
    make_model: Callable[..., int]
    pretrained: Mapping[str, Any]

    def write_rows(self, path: Path, settings: Settings) -> int:
        """Write the parquet file that verl's SFT dataset reads, shuffled; returns the number of rows."""
        import pandas

        rows = self.make_rows(settings)
        random.Random(settings.seed).shuffle(rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        pandas.DataFrame([row.record() for row in rows]).to_parquet(path)
        return len(rows)

    def run(self, out: Path | str, settings: Settings, overrides: list[str] | None = None) -> Path:
        """Make rows and model, run verl's SFT trainer, and collect the result.

        Writes into `out`: `rows.parquet`, `initial/` (the untrained tiny model), `checkpoints/` (verl's) and `model/`,
        the Hugging Face folder that reinforcement learning starts from, complete or absent.

        Returns:
            The folder of the trained model.

        Raises:
            FileExistsError: `out` holds a trained model already, or another process is making one there.
            RuntimeError: the trainer failed or left no model; its output stands above.
        """
        out = Path(out)
        with exclusive(out):
            return self._run(out, settings, overrides or [])

    def _run(self, out: Path, settings: Settings, overrides: list[str]) -> Path:
        result = out / "model"
        check_free(result)
        checkpoints = out / "checkpoints"
        shutil.rmtree(checkpoints, ignore_errors=True)
        rows, initial = out / "rows.parquet", Path(settings.model or out / "initial")
        count = self.write_rows(rows, settings)
        if settings.model:
            print(f"warm start: {count} rows, model {initial}", flush=True)
        else:
            parameters = self.make_model(initial, seed=settings.seed)
            print(f"warm start: {count} rows, {parameters} parameters", flush=True)
        began = time.monotonic()
        environment = os.environ | {"OMP_NUM_THREADS": str(settings.threads), "TOKENIZERS_PARALLELISM": "false"}
        max_length = settings.micro_batch_tokens if settings.model else self.max_length
        command = sft_command(rows, initial, checkpoints, max_length, settings, overrides)
        done = subprocess.run(command, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"verl's SFT trainer ended with status {done.returncode}; command: {' '.join(command)}")
        with new_folder(result) as folder:
            shutil.copytree(last_checkpoint(checkpoints), folder, dirs_exist_ok=True)
            set_float32(folder / "config.json")
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = f"{time.monotonic() - began:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time"
        print(f"warm start: {spent}; model in {result}", flush=True)
        return result

    def main(self, description: str, defaults: Settings) -> None:
        """Command line: --out, a flag per field of `defaults`, and overrides of verl's SFT trainer."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--out", required=True)
        for name, default in vars(defaults).items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(default))
        parser.add_argument("overrides", nargs="*", help="further settings of verl's SFT trainer")
        args = parser.parse_args()
        given = {name: getattr(args, name) for name in vars(defaults) if getattr(args, name) is not None}
        settings = replace(defaults, **(self.pretrained if given.get("model") else {}) | given)
        self.run(args.out, settings, args.overrides)


def sft_command(
    rows: Path, model: Path, checkpoints: Path, max_length: int, settings: WarmStartSettings, overrides: list[str]
) -> list[str]:
    """The command line of verl's SFT trainer."""
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"),
        *("-m", "verl.trainer.sft_trainer", "+siri=sft_cpu"),
        f"data.train_files={rows}",
        f"data.train_batch_size={settings.batch_size}",
        f"data.max_length={max_length}",
        "data.truncation=error",
        "data.use_dynamic_bsz=true",
        f"data.max_token_len_per_gpu={settings.micro_batch_tokens}",
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


def last_checkpoint(checkpoints: Path) -> Path:
    """The Hugging Face folder of the newest checkpoint.

    Raises:
        RuntimeError: there is none with weights.
    """
    found = sorted(checkpoints.glob("global_step_*/huggingface"), key=lambda p: int(p.parent.name.rsplit("_", 1)[1]))
    if not found or not any(found[-1].glob("*.safetensors")):
        raise RuntimeError(f"verl's SFT trainer left no Hugging Face folder with weights under {checkpoints}")
    return found[-1]


def set_float32(config: Path) -> None:
    """Set the dtype of a config. verl saves float32 weights under a config that names bfloat16, in which transformers
    would load them."""
    fields = json.loads(config.read_text(encoding="utf-8"))
    fields["dtype"] = "float32"
    write_text_atomically(config, json.dumps(fields, indent=2) + "\n")
