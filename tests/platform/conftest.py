# SPDX-License-Identifier: Apache-2.0
"""One batch of rows, and verl's engines run on it by one worker and by two (once per test session)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.engine_rows import TEMPERATURE, make_rows
from support.tiny_model import make_tiny_model

JOB = Path(__file__).parents[1] / "support" / "engine_job.py"


def run_engines(folder: Path, workers: int) -> list[dict]:
    """Results by rank."""
    rows = torch.load(folder / "rows")
    job = {"model": str(folder / "model"), "rows": rows, "max_tokens": 96, "temperature": TEMPERATURE}
    torch.save(job, folder / f"job{workers}")
    out = folder / f"out{workers}"
    env = os.environ | {"OMP_NUM_THREADS": "1", "SIRI_PLATFORM": "cpu"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={workers}"]
    done = subprocess.run(
        [*command, str(JOB), str(folder / f"job{workers}"), str(out)],
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(f"{out}.{rank}") for rank in range(workers)]


@pytest.fixture(scope="session")
def engine_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engines")
    # an output layer of its own: the path on which verl builds empty modules on all ranks but the first
    make_tiny_model(folder / "model", tie=False)
    torch.save(make_rows(folder / "model"), folder / "rows")
    return folder


@pytest.fixture(scope="session")
def rows(engine_folder) -> list[dict[str, torch.Tensor]]:
    return torch.load(engine_folder / "rows")


@pytest.fixture(scope="session")
def one_worker(engine_folder) -> list[dict]:
    return run_engines(engine_folder, 1)


@pytest.fixture(scope="session")
def two_workers(engine_folder) -> list[dict]:
    return run_engines(engine_folder, 2)
