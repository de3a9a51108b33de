# SPDX-License-Identifier: Apache-2.0
"""Injects faults into training runs of a small model and prints a table.

    PYTHONPATH=$PWD:tests python tests/faults/run.py --work /tmp/faults              # everything, with 30 kills
    PYTHONPATH=$PWD:tests python tests/faults/run.py --work /tmp/faults disk_full    # some of it
    PYTHONPATH=$PWD:tests python tests/faults/run.py --work /tmp/faults --kills 30 kills

Each fault is one or two starts of a run, half a minute each on two free cores; a kill is one start. The run without
faults, to which all others are compared, is made once there. Exit code 1 where anything is lost, hangs or is left.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from pathlib import Path

HEAD = f"{'fault':<52}{'injected':>9}{'steps lost':>11}{'skills lost':>12}{'hung':>6}  outcome"


def main() -> int:
    from faults.scenarios import SCENARIOS, Row, kills

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help=f"of kills, {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    every = {"kills": lambda work: kills(work, asked.kills, asked.seed), **SCENARIOS}
    rows: list[Row] = []
    for name in asked.faults or every:
        begun = time.monotonic()
        try:
            row = every[name](asked.work.absolute())
        except Exception as error:
            traceback.print_exc()
            row = Row(name, problems=[f"{type(error).__name__}: {str(error)[-500:]}"])
        rows.append(row)
        with (asked.work / "rows.jsonl").open("a") as out:
            out.write(json.dumps({**vars(row), "seconds": round(time.monotonic() - begun)}) + "\n")
        print(HEAD)
        for row in rows:
            good = row.outcome if row.good else "; ".join(["FAILED", *row.problems[:3]])
            print(
                f"{row.fault:<52}{row.injected:>9}{row.steps_lost:>11}{row.skills_lost:>12}{row.hung:>6}  {good}",
                flush=True,
            )
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
