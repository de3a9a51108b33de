# SPDX-License-Identifier: Apache-2.0
"""ALFWorld, fast: the real alfworld package over official or generated games, many environments in one process.

Imports neither verl nor torch; textworld is loaded when the first game is.
"""

from siri_verl.envs.alfworld.speed import TextworldVersionError, fast_textworld

__all__ = ["TextworldVersionError", "fast_textworld"]
