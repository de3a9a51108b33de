# SPDX-License-Identifier: Apache-2.0
"""Generated games for the tests: made in seconds, all six task types, seen and unseen rooms."""

import pytest

pytest.importorskip("textworld", reason="needs the alfworld extra: pip install -e '.[alfworld]'")


@pytest.fixture(scope="session")
def full_games(tmp_path_factory):
    """A folder of games in full-size rooms."""
    from siri_verl.demos.alfworld.generator import generate

    folder = tmp_path_factory.mktemp("alfworld") / "full"
    generate(folder, games=12, validation=6, rooms="full", check=False)
    return folder


@pytest.fixture(scope="session")
def small_games(tmp_path_factory):
    """A folder of games in small rooms."""
    from siri_verl.demos.alfworld.generator import generate

    folder = tmp_path_factory.mktemp("alfworld") / "small"
    generate(folder, games=12, validation=6, rooms="small", check=False)
    return folder
