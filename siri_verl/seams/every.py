# SPDX-License-Identifier: Apache-2.0
"""All seams of verl that the doctor and the contracts check on every machine."""

from __future__ import annotations

from siri_verl.seams.platform import PLATFORM_SEAMS
from siri_verl.seams.seam import Seam
from siri_verl.seams.training import SEAMS


def every_seam() -> tuple[Seam, ...]:
    """The seams of training and rollout, and those of the CPU platform."""
    return (*SEAMS, *PLATFORM_SEAMS)
