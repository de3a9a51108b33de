# SPDX-License-Identifier: Apache-2.0
"""One demo catalogue for all tests of this folder."""

import pytest

from siri_verl.demos.webshop.generator import generate
from siri_verl.demos.webshop.settings import demo_env


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    generate(folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def env(catalogue):
    return demo_env(catalogue)
