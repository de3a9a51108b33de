# SPDX-License-Identifier: Apache-2.0
"""verl's platform interface answered by the CPU.

verl picks the first registered platform that calls itself available and falls back to "nvidia"; this one is
registered under the name "cpu" after verl's own, so it is chosen exactly when no accelerator is found.
``SIRI_PLATFORM=cpu`` (or verl's own ``VERL_PLATFORM=cpu``) chooses it on a machine that has one.
"""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import psutil
import torch
from verl.plugin.platform import PlatformBase

CPU = torch.device("cpu")
ROLLOUT_ENVIRONMENT: dict[str, str] = {}
"""Environment variables that verl sets for a rollout server's processes. Empty unless
siri_verl/platform/vllm_cpu/register.py is loaded."""


class CpuDeviceModule(ModuleType):
    """``torch.cpu`` with the questions verl asks of an accelerator's namespace.

    "Device memory" is this process's resident memory; nothing is cached, so reserved equals allocated.
    """

    def __init__(self) -> None:
        super().__init__("siri_verl_cpu_device")

    def __getattr__(self, name: str) -> Any:
        # streams, synchronize, device_count ... exist in torch.cpu
        return getattr(torch.cpu, name)

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:
        return CPU

    def set_device(self, device: Any) -> None:
        """One CPU device: nothing to select."""

    def get_device_name(self, device: Any = None) -> str:
        return "CPU"  # a name in verl's table of peak FLOPS

    def memory_allocated(self, device: Any = None) -> int:
        return psutil.Process().memory_info().rss

    memory_reserved = memory_allocated

    def max_memory_allocated(self, device: Any = None) -> int:
        # the kernel's two counters are updated at different times
        return max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, self.memory_allocated())

    max_memory_reserved = max_memory_allocated

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def empty_cache(self) -> None:
        """The allocator of the CPU keeps no cache."""

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        """The peak of the resident memory cannot be reset."""

    reset_accumulated_memory_stats = reset_peak_memory_stats

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        torch.set_rng_state(state)


class CpuPlatform(PlatformBase):
    """FSDP2 over gloo on processor cores. Ray's resource "GPU" is declared logically (``ray_init.num_gpus``)."""

    def __init__(self) -> None:
        self._device_module = CpuDeviceModule()

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        return self._device_module

    def is_available(self) -> bool:
        return True

    def current_device(self) -> torch.device:
        # Not an index: torch takes a bare integer for an accelerator.
        return CPU

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        """One CPU device: nothing to select."""

    def synchronize(self, device_index: int | None = None) -> None:
        """CPU operations are synchronous."""

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """The allocator of the CPU has no settings."""

    def empty_cache(self) -> None:
        """The allocator of the CPU keeps no cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"  # what Ray sets for its resource "GPU"

    @contextmanager
    def nvtx_range(self, msg: str):
        yield

    def profiler_start(self) -> None:
        """No device profiler; verl's torch profiler works on its own."""

    def profiler_stop(self) -> None:
        """No device profiler."""

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def rollout_env_vars(self) -> dict[str, str]:
        return dict(ROLLOUT_ENVIRONMENT)

    def cudart(self) -> Any:
        return None


def forced() -> bool:
    """Whether ``SIRI_PLATFORM`` asks for the CPU.

    Raises:
        ValueError: ``SIRI_PLATFORM`` holds another value than "cpu" or "".
    """
    value = os.environ.get("SIRI_PLATFORM", "").strip().lower()
    if value not in ("", "cpu"):
        raise ValueError(
            f"SIRI_PLATFORM={value!r}: only 'cpu' is known here; choose an accelerator with verl's VERL_PLATFORM"
        )
    return value == "cpu"


def register() -> None:
    """Put the CPU into verl's registry of platforms, last, and choose it outright when it is forced."""
    from verl.plugin.platform import PlatformRegistry

    PlatformRegistry.register(platform="cpu")(CpuPlatform)
    if forced():
        # verl reads this in every process at its first question; children inherit it
        os.environ["VERL_PLATFORM"] = "cpu"
