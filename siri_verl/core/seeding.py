# SPDX-License-Identifier: Apache-2.0
"""Every random choice of a run derives from one seed and the name of what is chosen."""

from __future__ import annotations

import hashlib


def derive_seed(run_seed: int, *name: object, bits: int = 31) -> int:
    """A seed in [0, 2**bits) that depends on the run seed and a name alone.

    Args:
        run_seed: the run's seed.
        name: what the seed is for, for example ("request", step, task_id, arm, session, turn). Parts are compared by
            their text.
        bits: width of the result; 31 fits every generator in use here.

    Returns:
        The seed; equal on every machine and Python version.
    """
    text = "\x1f".join([str(run_seed), *map(str, name)])
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - bits)
