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
"""What an evaluation or a re-test is asked for, looked at before anything is read, written or played."""

from __future__ import annotations

import math

from siri_verl.evaluation.policy import Sampling


def check_sampling(sampling: Sampling) -> None:
    """Refuse sampling that no model can follow.

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
