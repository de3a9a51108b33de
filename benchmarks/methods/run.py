# SPDX-License-Identifier: Apache-2.0
"""Runs what is missing of the comparison of methods and enters every finished run at once.

    python benchmarks/methods/run.py --seeds final --commit                 what the table is made of
    python benchmarks/methods/run.py --seeds final --methods sdar spear     some methods
    python benchmarks/methods/run.py --seeds dev --trial c_1 --methods sdar --override siri.internalization.lambda_max=1
    python benchmarks/methods/run.py --seeds final --dry-run                what would be run

Stopped and started again, it goes on; so does another machine, from the committed results. README.md has the protocol.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.methods.settings import PROTOCOL  # noqa: E402
from benchmarks.siri_vs_gigpo import results, run  # noqa: E402

if __name__ == "__main__":
    try:
        sys.exit(min(run.main(protocol=PROTOCOL, description=__doc__), 1))
    except (run.BenchmarkError, results.ResultsError, ValueError) as problem:
        sys.exit(str(problem))
