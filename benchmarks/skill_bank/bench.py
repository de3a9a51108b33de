# SPDX-License-Identifier: Apache-2.0
"""A bank of many skills: seconds to choose one, to take in evidence, to write and to read the file.

python benchmarks/skill_bank/bench.py            # prints the table of README.md
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from siri_verl.core.pairing import TreatmentEffect
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.bank_file import load_bank, save_bank
from siri_verl.skills.retrieval import RetrievalSettings, Retriever
from siri_verl.skills.skill import Provenance

WORDS = [f"word{number}" for number in range(400)]
WAITING = 8
"""Candidates of a type not tested yet, the cap of the bank's settings."""


def make_bank(skills: int, types: int, seed: int = 0) -> SkillBank:
    """A bank as a long run leaves it: nearly all skills decided about, a few candidates waiting in each type."""
    rng = random.Random(seed)
    bank = SkillBank(BankSettings(max_skills=skills, max_candidates_per_type=skills))
    while len(bank) < skills:
        text = " ".join(rng.choices(WORDS, k=12))
        bank.add("when it fits", text, f"type {len(bank) % types}", Provenance("", "", 0, "made"))
    for name in list(bank.skills)[: max(skills - WAITING * types, 0)]:
        effect, group = rng.choice((-0.2, 0.0, 0.4)), 0
        while bank[name].status == "candidate":
            delta = max(-1.0, min(1.0, rng.gauss(effect, 0.2)))
            bank.record(TreatmentEffect("g", name, delta, max(delta, 0), max(-delta, 0), 4, 4, ""), f"t{group}", group)
            group += 1
    return bank


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skills", type=int, default=10_000)
    parser.add_argument("--types", type=int, nargs="+", default=[1, 6, 100])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for types in given.types:
        bank = make_bank(given.skills, types)
        retriever = Retriever(RetrievalSettings(), seed=0)
        rng = random.Random(1)
        active = [name for name, skill in bank.skills.items() if skill.status == "active"]

        def choose(bank=bank, retriever=retriever, rng=rng, types=types):
            return retriever.retrieve(bank, f"type {rng.randrange(types)}", step=rng.randrange(10**6), task_id="t")

        def record(bank=bank, active=active, rng=rng):
            bank.record(TreatmentEffect("g", rng.choice(active), 0.25, 0.5, 0.25, 4, 4, ""), "t", 99)

        first = timed(lambda bank=bank, retriever=retriever: retriever.plans(bank)) / types
        changed, evidence = [], []
        for _ in range(200):
            evidence.append(timed(record))
            changed.append(timed(choose))
        same = [timed(choose) for _ in range(200)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bank.jsonl"
            write, read = (
                timed(lambda bank=bank, path=path: save_bank(bank, path)),
                timed(lambda path=path: load_bank(path)),
            )
        times = {"after a change": changed, "unchanged": same, "evidence": evidence}
        row = {"skills": len(bank), "types": types} | {
            name: statistics.median(values) * 1e3 for name, values in times.items()
        }
        rows.append(row | {"worst": max(changed) * 1e3, "first": first * 1e3, "write": write, "read": read})
    heads = ["skills", "types", "plan of a type, the first (ms)", "choose, after a change (ms)", "worst of 200 (ms)"]
    print("| " + " | ".join([*heads, "choose, unchanged (ms)", "evidence (ms)", "write (s)", "read (s)"]) + " |")
    print("|---" * 9 + "|")
    for r in rows:
        print(
            f"| {r['skills']:,} | {r['types']} | {r['first']:.1f} | {r['after a change']:.3f} | {r['worst']:.3f} "
            f"| {r['unchanged']:.3f} | {r['evidence']:.3f} | {r['write']:.2f} | {r['read']:.2f} |"
        )
    if given.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
