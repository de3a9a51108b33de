# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
