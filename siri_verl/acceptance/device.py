# SPDX-License-Identifier: Apache-2.0
"""What a device can do: multiplications and memory traffic per second, measured, and of known cards by data sheet."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

# Dense bfloat16 FLOP/s and bytes/s by NVIDIA's data sheets; the first name that the card's name contains counts.
DATA_SHEETS: dict[str, tuple[float, float]] = {
    "H200": (989e12, 4.8e12),
    "H100 PCIe": (756e12, 2.0e12),
    "H100": (989e12, 3.35e12),
    "A100-SXM4-80GB": (312e12, 2.04e12),
    "A100": (312e12, 1.55e12),
    "L40S": (362e12, 0.864e12),
    "RTX 4090": (165e12, 1.01e12),
}


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        name: as the driver calls it.
        memory: bytes; None on the CPU.
        flops, bandwidth: the limits: of the data sheet where it is known, else measured. Per second.
        measured_flops, measured_bandwidth: of one large matrix product, and of copying a tensor.
        source: "data sheet" or "measured".
    """

    name: str
    memory: int | None
    flops: float
    bandwidth: float
    measured_flops: float
    measured_bandwidth: float
    source: str


def _seconds(action, device: str, repeats: int) -> float:
    """The fastest of some calls."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        if device != "cpu":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return best


def find_device(device: str) -> Device:
    """Measure a device and look its data sheet up.

    Args:
        device: "cpu" or "cuda".
    """
    on_cpu = device == "cpu"
    size, dtype = (512, torch.float32) if on_cpu else (8192, torch.bfloat16)
    a = torch.randn(size, size, device=device, dtype=dtype)
    flops = 2 * size**3 / _seconds(lambda: a @ a, device, 6)
    block = torch.empty((1 << 24) if on_cpu else (1 << 30), dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    bandwidth = 2 * block.numel() / _seconds(lambda: target.copy_(block), device, 6)
    if on_cpu:
        return Device("CPU", None, flops, bandwidth, flops, bandwidth, "measured")
    name, memory = torch.cuda.get_device_name(device), torch.cuda.get_device_properties(device).total_memory
    sheet = next((limits for key, limits in DATA_SHEETS.items() if key in name), None)
    limits = sheet or (flops, bandwidth)
    return Device(name, memory, *limits, flops, bandwidth, "data sheet" if sheet else "measured")
