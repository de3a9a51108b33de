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
"""What tests of evaluations share: a small model that can play the toy game, trained on the spot."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "e2e"))


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """Folder of a model that plays two tasks of the toy game, but learns from a skill alone which room is right."""
    from toy_player import TRAIN, make_player

    folder = tmp_path_factory.mktemp("toy_model") / "player"
    make_player(folder, TRAIN[:2], steps=50)
    return folder
