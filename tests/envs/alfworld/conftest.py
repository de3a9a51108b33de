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
"""Generated games for the tests: made in seconds, all six task types, seen and unseen rooms."""

import pytest

pytest.importorskip("textworld", reason="needs the alfworld extra: pip install -e '.[alfworld]'")


@pytest.fixture(scope="session")
def full_games(tmp_path_factory):
    """A folder of games in full-size rooms."""
    from siri_verl.data.alfworld_demo.generator import generate

    folder = tmp_path_factory.mktemp("alfworld") / "full"
    generate(folder, games=12, validation=6, rooms="full", check=False)
    return folder


@pytest.fixture(scope="session")
def small_games(tmp_path_factory):
    """A folder of games in small rooms."""
    from siri_verl.data.alfworld_demo.generator import generate

    folder = tmp_path_factory.mktemp("alfworld") / "small"
    generate(folder, games=12, validation=6, rooms="small", check=False)
    return folder
