# SPDX-License-Identifier: Apache-2.0
"""The planner's libraries in this process."""

from siri_verl.envs.alfworld import planner


def unload_all() -> None:
    """Unload all games; environments in play load them again."""
    with planner.planning:
        while planner._loaded:
            planner.give_back_library(planner._loaded.popitem()[1].library)
