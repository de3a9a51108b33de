# SPDX-License-Identifier: Apache-2.0
"""The table and the picture of the comparison of methods, from the results files alone.

    python benchmarks/methods/table.py             prints; writes table.md and curves_<environment>.png
    python benchmarks/methods/table.py --folder benchmarks/methods/development/base

Differences are paired over seeds, with Student's t. The gap is success with the best active skills in the prompt minus
success without, of the same trained policy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.methods.settings import METHODS, TRAINING, WITH_SKILLS  # noqa: E402
from benchmarks.siri_vs_gigpo.differences import Interval, areas, interval, paired, present  # noqa: E402
from benchmarks.siri_vs_gigpo.picture import draw  # noqa: E402
from benchmarks.siri_vs_gigpo.results import Key, Results  # noqa: E402
from benchmarks.siri_vs_gigpo.table import each_seed, each_type, show  # noqa: E402
from siri_verl.files import write_text_atomically  # noqa: E402

COSTS = ("env_steps", "generated_tokens", "mining_tokens", "gradient_rows", "wall_seconds")


def table(found: Results, environment: str) -> str:
    """Success, differences, gap and costs of every method, best first, then each run, as Markdown."""
    rows = {name: row for name, row in found.rows.items() if name[0] == environment}
    success = {name: float(row["success"]) for name, row in rows.items()}
    under = areas(found, environment, METHODS)
    methods = [name for name in present(found, environment, METHODS) if name in TRAINING]
    means = {name: _mean(success, name) for name in methods}
    methods.sort(key=lambda name: -means[name].mean)
    lines = [
        f"## {environment}",
        "",
        "Plain prompt, held-out tasks; mean over seeds (95 %, Student's t), best first. Differences are paired over",
        "common seeds. Gap: the same policy with its best active skills in the prompt, minus without.",
        "",
        f"| method | seeds | success | method - gigpo | area - gigpo | gap | {' | '.join(COSTS)} |",
        "|---" * (6 + len(COSTS)) + "|",
    ]
    for method in methods:
        mine = [row for (_, m, _), row in rows.items() if m == method]
        others = method != "gigpo"
        cells = [
            f"`{method}`",
            str(len(mine)),
            _plain(means[method]),
            show(paired(success, environment, method, "gigpo")) if others else "",
            show(paired(under, environment, method, "gigpo")) if others else "",
            show(paired(success, environment, f"{method}{WITH_SKILLS}", method)),
            *(f"{np.mean([row[cost] for row in mine]):,.0f}" for cost in COSTS),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "Success of each run:", "", *each_seed(success, present(found, environment, METHODS))]
    lines += [*each_type(found, environment, methods), "", _origin(found, environment)]
    return "\n".join(lines) + "\n"


def _mean(values: Mapping[Key, float], method: str) -> Interval:
    return interval([value for (_, m, _), value in sorted(values.items()) if m == method])


def _plain(value: Interval) -> str:
    return f"{value.mean:.3f}" + (f" ({value.t[0]:.3f} to {value.t[1]:.3f})" if value.t else "")


def _origin(found: Results, environment: str) -> str:
    """Seeds, commits and machines of the rows."""
    names = sorted(name for name in found.rows if name[0] == environment)
    facts = [found.curves[name]["facts"] for name in names]
    commits = dict.fromkeys(fact["commit"][:7] for fact in facts)
    machines = dict.fromkeys(f"{fact['machine']['processor']}, {fact['machine']['cores']} cores" for fact in facts)
    seeds = ", ".join(map(str, sorted({seed for *_, seed in names})))
    return (
        f"Made by `python benchmarks/methods/run.py`; seeds {seeds}; "
        f"machine: {', '.join(machines)}; commits {', '.join(commits)}; each row's settings and overrides: curves.json."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE, help="where results.json and curves.json lie")
    folder = parser.parse_args(arguments).folder
    found = Results(folder)
    environments = sorted({name[0] for name in found.rows})
    if not environments:
        sys.exit(f"{found.rows_file}: no finished run; run.py makes them")
    text = "\n".join(table(found, environment) for environment in environments)
    print(text)
    write_text_atomically(folder / "table.md", text)
    for environment in environments:
        draw(found, environment, folder / f"curves_{environment}.png", every=METHODS)


if __name__ == "__main__":
    main()
