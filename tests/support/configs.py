# SPDX-License-Identifier: Apache-2.0
"""Configurations of runs of the toy game on a CPU, and verl's entry point with them."""

import os
import subprocess
import sys
from pathlib import Path

from omegaconf import DictConfig

from siri_verl.planning.compose import compose_run

TOY = "base,cpu,cpu_small"
"""Configuration groups of a run of the toy game on a CPU."""


def toy_config(*overrides: str) -> DictConfig:
    """The configuration of a run of the toy game on a CPU."""
    return compose_run([f"+siri=[{TOY}]", *overrides])


def train_toy(
    inputs: Path, run: Path, *overrides: str, groups: str = TOY, timeout: float = 900, **environment: str
) -> subprocess.CompletedProcess:
    """`python -m verl.trainer.main_ppo` on the toy game: four tasks a step, three turns an episode.

    Args:
        inputs: folder with `train.parquet`, `validation.parquet` and `model`.
        run: folder of the run.
        overrides: further settings; of two values for one setting the later counts.
        groups: configuration groups.
        timeout: seconds.
        environment: more environment variables.
    """
    command = toy_command(inputs, run, *overrides, groups=groups)
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=inputs, env=variables, capture_output=True, text=True, timeout=timeout)


def toy_command(inputs: Path, run: Path, *overrides: str, groups: str = TOY) -> list[str]:
    """The words of `train_toy`'s command."""
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", f"+siri=[{groups}]"),
        f"data.train_files={inputs}/train.parquet",
        f"data.val_files={inputs}/validation.parquet",
        f"actor_rollout_ref.model.path={inputs}/model",
        *("data.train_batch_size=4", "actor_rollout_ref.actor.ppo_mini_batch_size=4", "siri.rollout.max_turns=3"),
        f"trainer.default_local_dir={run}",
        *overrides,
    ]
