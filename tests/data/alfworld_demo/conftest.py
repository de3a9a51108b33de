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
"""A few generated games for all tests of this folder."""

import pytest

from siri_verl.data.alfworld_demo.generator import write_games

pytest.importorskip("alfworld", reason="needs the alfworld extra: pip install -e '.[alfworld]'")


@pytest.fixture(scope="session")
def games(tmp_path_factory):
    """Small rooms: 24 games to train on, 6 in seen and 6 in unseen rooms, none of them checked yet."""
    out = tmp_path_factory.mktemp("alfworld") / "games"
    counts = {"train": 24, "valid_seen": 6, "valid_unseen": 6}
    return write_games(out, {name: (name, count) for name, count in counts.items()}, seed=0, rooms="small")
