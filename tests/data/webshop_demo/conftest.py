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
"""One demo catalogue for all tests of this folder."""

import pytest

from siri_verl.data.webshop_demo.generator import generate
from siri_verl.data.webshop_demo.settings import demo_env


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    generate(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def env(catalogue):
    return demo_env(catalogue)
