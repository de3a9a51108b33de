# SPDX-License-Identifier: Apache-2.0
"""Checks options that evaluations and re-tests share, before anything is read, written or played."""

from __future__ import annotations

import math
import re

from siri_verl.light.policy import Sampling


def check_sampling(sampling: Sampling) -> None:
    """Refuse sampling parameters that are out of range.

    Raises:
        ValueError: a value is out of range; names option, value and fix.
    """

    def need(ok: bool, name: str, fix: str) -> None:
        if not ok:
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: {name}={getattr(sampling, name)!r}; use {fix}")

    need(0 <= sampling.temperature < math.inf, "temperature", "0 (the most likely token) or a positive number")
    need(0 < sampling.top_p <= 1, "top_p", "a share in (0, 1]; 1 keeps all")
    need(sampling.top_k >= -1, "top_k", "a positive number, or -1 to keep all")


def check_device(device: str) -> None:
    """Refuse a device that the machine does not have.

    Raises:
        ValueError: neither cpu nor a CUDA device of this machine; names the ones it has.
    """
    if device == "cpu":
        return
    if not re.fullmatch(r"cuda(:\d+)?", device):
        raise ValueError(f"--device {device}: use cpu or cuda (one of several: cuda:1)")
    import torch

    count, index = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
    if not torch.cuda.is_available():
        raise ValueError(
            f"--device {device}: PyTorch {torch.__version__} finds no CUDA device here; use --device cpu, or see "
            "`siri-verl doctor`"
        )
    if index >= count:
        raise ValueError(f"--device {device}: the CUDA devices here are cuda:0 to cuda:{count - 1}; use one of them")
