# SPDX-License-Identifier: Apache-2.0
"""What tests of evaluations share: a small model that can play the toy game, trained on the spot."""

import pytest


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """Folder of a model that plays two tasks of the toy game, but learns from a skill alone which room is right."""
    from support.toy_player import TRAIN, make_player

    folder = tmp_path_factory.mktemp("toy_model") / "player"
    make_player(folder, TRAIN[:2], steps=50)
    return folder
