# SPDX-License-Identifier: Apache-2.0
"""Whether a skill's condition names its own type's tasks, by the words of the tasks met so far.

Each type t has a bag of tasks; p_t(w) is the share of its tasks whose text contains the word w, smoothed toward the
share over all types. A condition's words that occur in some task give each type the score sum_w log p_t(w). The
condition fits its own type unless another type's score exceeds it by the log of the odds. No domain knowledge enters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from siri_verl.skills.skill import word_set
from siri_verl.skills.task_type import singular

SMOOTHING = 2.0
"""The share over all types counts as this many tasks of each type."""


def words_of(text: str) -> frozenset[str]:
    """The words of a text in the singular."""
    return frozenset(map(singular, word_set(text)))


class TypeWords:
    """How often each word occurs in the tasks of each type. Serialisable.

    Attributes:
        tasks: task type -> tasks counted.
        counts: task type -> word -> tasks whose text contains it.
    """

    def __init__(self) -> None:
        self.tasks: Counter[str] = Counter()
        self.counts: dict[str, Counter[str]] = {}

    def add(self, tasks: Iterable[tuple[str, str]]) -> None:
        """Count tasks, given as (task type, text). A task that is met again counts again."""
        for task_type, text in tasks:
            self.tasks[task_type] += 1
            self.counts.setdefault(task_type, Counter()).update(words_of(text))

    def fits(self, condition: str, task_type: str, odds: float) -> bool:
        """Whether no other type makes the condition's words more than `odds` times likelier than its own does.

        A condition without a word of any task fits every type, and a type without tasks is fitted by every condition.
        """
        if task_type not in self.tasks:
            return True
        words = [w for w in words_of(condition) if any(counts[w] for counts in self.counts.values())]
        scores = {name: self._score(words, name) for name in self.tasks}
        return scores[task_type] + math.log(odds) >= max(scores.values())

    def _score(self, words: Iterable[str], task_type: str) -> float:
        total, counts, n = sum(self.tasks.values()), self.counts[task_type], self.tasks[task_type]
        every = {w: sum(of_type[w] for of_type in self.counts.values()) / total for w in words}
        return math.fsum(math.log((counts[w] + SMOOTHING * every[w]) / (n + SMOOTHING)) for w in sorted(every))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"tasks": dict(self.tasks), "counts": {name: dict(counts) for name, counts in self.counts.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TypeWords:
        """The inverse of `to_dict`."""
        words = cls()
        words.tasks = Counter(data["tasks"])
        words.counts = {name: Counter(counts) for name, counts in data["counts"].items()}
        return words
