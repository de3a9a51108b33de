# SPDX-License-Identifier: Apache-2.0
"""The empty-context control: a text of the same length that says nothing about the task.

If a longer prompt alone, whatever it says, made the policy better or taught it something, this text would do as well
as a skill.
"""

from __future__ import annotations

from itertools import cycle, islice

NEUTRAL = "(neutral text)"
"""What stands in a bank as the control text of a skill whose whole section is replaced."""
WORDS = (
    "The sky is wide and the old road goes past the mill and down to the sea, where boats lie still in the evening "
    "light. A man and a dog walk by, and far out a bell can be heard now and then."
).split()


def neutral_text(words: int) -> str:
    """Exactly so many words, separated by white space.

    Raises:
        ValueError: `words` is below 1.
    """
    if words < 1:
        raise ValueError(f"neutral text: {words} words; use at least 1")
    return " ".join(islice(cycle(WORDS), words))
