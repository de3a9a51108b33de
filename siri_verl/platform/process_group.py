# SPDX-License-Identifier: Apache-2.0
"""The process group of a CPU run.

verl asks torch for the backend string "cpu:gloo,<device>:<backend>", which names the device cpu twice on a CPU run;
torch refuses it. verl has no setting for it, so its two initialisers are wrapped: on the CPU platform they ask for
"cpu:gloo", on any other they run unchanged. The wrapping happens right after ``verl.utils.distributed`` is imported,
before another module imports the functions from it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from types import ModuleType
from typing import Any, Callable

import wrapt

CPU_BACKEND = "cpu:gloo"


def _on_cpu() -> bool:
    from verl.plugin.platform import get_platform

    return get_platform().device_name == "cpu"


def _ray_initialiser(wrapped: Callable, instance: Any, args: tuple, kwargs: dict) -> None:
    """``initialize_global_process_group_ray(timeout_second=None, backend=None)``."""
    if _on_cpu() and len(args) < 2 and kwargs.get("backend") is None:
        kwargs = {**kwargs, "backend": CPU_BACKEND}
    return wrapped(*args, **kwargs)


def _spmd_initialiser(wrapped: Callable, instance: Any, args: tuple, kwargs: dict) -> tuple[int, int, int]:
    """``initialize_global_process_group(timeout_second=36000)``, used under torchrun: (local rank, rank, world
    size)."""
    if not _on_cpu():
        return wrapped(*args, **kwargs)
    import torch.distributed

    timeout = args[0] if args else kwargs.get("timeout_second", 36000)
    torch.distributed.init_process_group(
        backend=CPU_BACKEND,
        timeout=timedelta(seconds=timeout),
        init_method=os.environ.get("DIST_INIT_METHOD", None),
    )
    return int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def install(module: ModuleType) -> None:
    """Wrap the initialisers of ``verl.utils.distributed``.

    Args:
        module: the module ``verl.utils.distributed``, freshly imported.
    """
    wrapt.wrap_function_wrapper(module, "initialize_global_process_group_ray", _ray_initialiser)
    wrapt.wrap_function_wrapper(module, "initialize_global_process_group", _spmd_initialiser)
