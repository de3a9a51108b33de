# SPDX-License-Identifier: Apache-2.0
"""Similarity of two texts: the Ratcliff-Obershelp ratio, as `difflib.SequenceMatcher(None, a, b, autojunk=False)`.

With `autojunk`, difflib ignores frequent characters of texts above 200 characters; without it, difflib is slow on long
texts. The same ratio is computed here by substring searches, after cheaper upper bounds.
"""

from __future__ import annotations

from collections import Counter

CHUNK = 256
"""Characters after which the upper bound by common subsequences is looked at again."""


class Similarity:
    """Compares texts with one text.

    Args:
        text: the text that others are compared with.
    """

    def __init__(self, text: str):
        self.text = text
        self._counts = Counter(text)
        self._places: dict[str, int] = {}
        for i, character in enumerate(text):
            self._places[character] = self._places.get(character, 0) | 1 << i

    def reaches(self, other: str, threshold: float) -> bool:
        """Whether `ratio(other, self.text)` is at least the threshold."""
        length = len(self.text) + len(other)

        def enough(matched: int) -> bool:
            return 2.0 * matched / length >= threshold  # never empty: equal texts are compared first

        if other == self.text:
            return threshold <= 1
        # Each is an upper bound of the number of matched characters.
        if not enough(min(len(self.text), len(other))) or not enough((self._counts & Counter(other)).total()):
            return False
        return self._common_subsequence_may_reach(other, threshold) and ratio(other, self.text) >= threshold

    def _common_subsequence_may_reach(self, other: str, threshold: float) -> bool:
        """Whether the longest common subsequence, an upper bound of the matched characters, is long enough.

        Bit-parallel, one integer per text (Hyyrö 2004, "Bit-parallel LCS-length computation revisited").
        """
        size, length = len(self.text), len(self.text) + len(other)
        full = (1 << size) - 1
        unmatched = full
        for start in range(0, len(other), CHUNK):
            for character in other[start : start + CHUNK]:
                matching = unmatched & self._places.get(character, 0)
                unmatched = ((unmatched + matching) | (unmatched - matching)) & full
            found = size - unmatched.bit_count()
            if 2.0 * (found + max(0, len(other) - start - CHUNK)) / length < threshold:
                return False
        return True


def ratio(a: str, b: str) -> float:
    """2 M / (len(a) + len(b)), M the characters in the longest common substring and, by recursion, beside it."""
    length, matched = len(a) + len(b), 0
    open_pairs = [(a, b)]
    while open_pairs:
        left, right = open_pairs.pop()
        i, j, size = longest_match(left, right)
        if size:
            matched += size
            open_pairs += [(left[:i], right[:j]), (left[i + size :], right[j + size :])]
    return 2.0 * matched / length if length else 1.0


def longest_match(a: str, b: str) -> tuple[int, int, int]:
    """(i, j, size) of the longest common substring; of several the first in `a`, then the first in `b`."""
    best = 0, 0, 0
    i = 0
    while i + best[2] < len(a):
        size = best[2] + 1
        j = b.find(a[i : i + size])
        if j < 0:
            i += 1
            continue
        while i + size < len(a) and j + size < len(b) and a[i + size] == b[j + size]:
            size += 1
        best = i, j, size
    return best
