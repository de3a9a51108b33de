# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium space of observations and actions: any text, which every part of Gymnasium can encode.

The character set is all of Unicode, and a character's index its code point. Gymnasium's functions for text loop over
characters, also over the unused ones up to `max_length`; those registered here for `FreeText` do the same with arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces import utils
from gymnasium.vector.utils import read_from_shared_memory
from numpy.typing import NDArray

_SIZE = sys.maxunicode + 1


class _CodePoints(Sequence[str]):
    """The characters by code point."""

    def __len__(self) -> int:
        return _SIZE

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [chr(k) for k in range(*index.indices(_SIZE))]
        return chr(index)


class _Characters(Set[str]):
    """The set of all characters."""

    def __len__(self) -> int:
        return _SIZE

    def __iter__(self) -> Iterator[str]:
        return map(chr, range(_SIZE))

    def __contains__(self, x: object) -> bool:
        return isinstance(x, str) and len(x) == 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Characters)

    __hash__ = None  # type: ignore[assignment]


class FreeText(spaces.Text):
    """Any string up to `max_length` characters, of any alphabet.

    Samples are short words, for checkers and smoke tests.
    """

    _SAMPLES = "abc "

    def __init__(self, max_length: int = 1_000_000, seed: int | None = None):
        super().__init__(max_length=max_length, min_length=0, charset=self._SAMPLES, seed=seed)

    # Unlike Gymnasium's, none of these is a table of its own in every space.
    @property
    def character_set(self) -> Any:
        return _Characters()

    @property
    def character_list(self) -> Any:
        return _CodePoints()

    @property
    def characters(self) -> str:
        return "".join(self.character_set)

    def character_index(self, char: str) -> np.int32:
        return np.int32(ord(char))

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        for given in (mask, probability):
            if given is not None and given[1] is not None:
                return super().sample(mask=mask, probability=probability)
        given = mask if mask is not None else probability
        length = None if given is None else given[0]
        if length is None:
            length = int(self.np_random.integers(1, min(16, self.max_length) + 1))
        return "".join(
            self.np_random.choice(list(self._SAMPLES), size=length, p=[1 / len(self._SAMPLES)] * len(self._SAMPLES))
        )

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def __repr__(self) -> str:
        return f"FreeText({self.max_length})"


@utils.flatten.register(FreeText)
def _flatten(space: FreeText, x: str) -> NDArray[np.int32]:
    codes = np.full(space.max_length, _SIZE, dtype=np.int32)
    codes[: len(x)] = np.frombuffer(x.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    return codes


@utils.unflatten.register(FreeText)
def _unflatten(space: FreeText, x: NDArray[np.int32]) -> str:
    return x[x < _SIZE].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


class _SharedTexts(Sequence[str]):
    """The texts of several environments in shared memory, as they are when they are read.

    `AsyncVectorEnv` reads the memory once, at its start, and copies that object at every step: for arrays it is a view
    of the memory, so it has to be one here.
    """

    def __init__(self, space: FreeText, rows: NDArray[np.int32]):
        self._space, self._rows = space, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self.now()[index]

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return self.now()

    def now(self) -> tuple[str, ...]:
        """The texts."""
        return tuple(_unflatten(self._space, row) for row in self._rows)


@read_from_shared_memory.register(FreeText)
def _read(space: FreeText, shared_memory: Any, n: int = 1) -> _SharedTexts:
    return _SharedTexts(space, np.frombuffer(shared_memory.get_obj(), dtype=np.int32).reshape(n, space.max_length))
