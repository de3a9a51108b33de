# SPDX-License-Identifier: Apache-2.0
"""Chains of tasks of one type, in consecutive iterations: what the bank learns on one task is there for the next.

SAGE lets an agent play a chain of similar tasks and keep what it wrote on the way. Here the links of a chain stand at
one place of the batch in consecutive iterations, and skills are written in between. Source: arXiv 2512.17102, from its
abstract and public summaries: chains of two.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from siri_verl.core.seeding import derive_seed


def chain_order(types: Sequence[str], batch: int, length: int, seed: int) -> list[int]:
    """An order of tasks in which iterations k * length ... k * length + length - 1 form `batch` chains.

    Args:
        types: (tasks,) the type of each.
        batch: tasks of an iteration.
        length: links of a chain.
        seed: which tasks make a chain, and in which order chains come, derives from it.

    Returns:
        (tasks,) positions. Tasks that fill no chain, and chains that fill no iteration, come last.
    """
    rng = random.Random(derive_seed(seed, "chains"))
    chains: list[list[int]] = []
    rest: list[int] = []
    for kind in sorted(set(types)):
        members = [i for i, of_task in enumerate(types) if of_task == kind]
        rng.shuffle(members)
        whole = len(members) // length * length
        chains += [members[i : i + length] for i in range(0, whole, length)]
        rest += members[whole:]
    rng.shuffle(chains)
    order: list[int] = []
    used = len(chains) // batch * batch
    for first in range(0, used, batch):
        order += [chain[link] for link in range(length) for chain in chains[first : first + batch]]
    rest += [i for chain in chains[used:] for i in chain]
    rng.shuffle(rest)
    return order + rest
