# SPDX-License-Identifier: Apache-2.0
"""How a run was started: command, seed, commit, machine, versions; one entry per start. Unknown values are null.

The run's settings are in another file (runs/config.py).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from siri_verl.files import parse_json, write_text_atomically
from siri_verl.runs.folder import RunFolder
from siri_verl.versions import installed_version

RECORD_VERSION = 1
PACKAGES = ("siri_verl", "verl", "torch", "transformers", "ray", "vllm")


class RunRecordError(ValueError):
    """A run's record is damaged or of another version. The message names the file and what to do."""


def add_start(run: Path, seed: int) -> dict[str, Any]:
    """Append this start to the run's record and return it. A resumed run has several."""
    start = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": driver_command(),
        "seed": seed,
        "commit": source_commit(Path(__file__).resolve().parent),
        "machine": machine(),
        "versions": versions(),
    }
    content = {"version": RECORD_VERSION, "starts": [*read_starts(run), start]}
    write_text_atomically(RunFolder(run).record, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return start


def read_starts(run: Path) -> list[dict[str, Any]]:
    """The starts of a run, in order; none where it keeps no record.

    Raises:
        RunRecordError: the record cannot be read.
    """
    path = RunFolder(run).record
    if not path.is_file():
        return []
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        found, starts = content["version"], content["starts"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunRecordError(f"{path}: no record of a run ({error!r}); move it away to start a new one") from error
    if found != RECORD_VERSION:
        raise RunRecordError(f"{path}: version={found!r}, this siri_verl reads version {RECORD_VERSION}")
    return list(starts)


def driver_command() -> str | None:
    """The command line that started the run. Inside a Ray worker: its driver's, which Ray keeps by job."""
    import ray

    if not ray.is_initialized():
        return " ".join(sys.orig_argv)
    from ray._private import state  # the public call needs a dashboard (siri_verl/seams/training.py)

    job = ray.get_runtime_context().get_job_id()
    return next((entry["Entrypoint"] or None for entry in state.jobs() if entry["JobID"] == job), None)


def source_commit(folder: Path) -> str | None:
    """The commit of the checkout that holds a folder, with `+changes` where it differs; None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not git("ls-files", "."):  # installed below somebody else's checkout
        return None
    commit = git("rev-parse", "--short=12", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", ".")
    return commit if not commit or not changed else f"{commit}+changes"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerators."""
    import torch

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None
    count = torch.cuda.device_count()
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1) if pages else None,
        "accelerators": [torch.cuda.get_device_name(i) for i in range(count)],
    }


def _processor() -> str | None:
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def versions() -> dict[str, str | None]:
    """Python and the packages results depend on; None for one that is not installed."""
    return {"python": platform.python_version(), **{package: installed_version(package) for package in PACKAGES}}
