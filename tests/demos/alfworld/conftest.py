# SPDX-License-Identifier: Apache-2.0
"""A few generated games for all tests of this folder."""

import pytest

from siri_verl.demos.alfworld.generator import write_games

pytest.importorskip("alfworld", reason="needs the alfworld extra: pip install -e '.[alfworld]'")


@pytest.fixture(scope="session")
def games(tmp_path_factory):
    """Small rooms: 24 games to train on, 6 in seen and 6 in unseen rooms, none of them checked yet."""
    out = tmp_path_factory.mktemp("alfworld") / "games"
    counts = {"train": 24, "valid_seen": 6, "valid_unseen": 6}
    return write_games(out, {name: (name, count) for name, count in counts.items()}, seed=0, rooms="small")
