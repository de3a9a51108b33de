# SPDX-License-Identifier: Apache-2.0
"""The contract of a seam: verl is there as the seam expects it."""

from siri_verl.seams.seam import Seam, problem


def check_seam(seam: Seam) -> None:
    """Fail with the sentence that says what to change and where."""
    found = problem(seam)
    assert found is None, found
