# SPDX-License-Identifier: Apache-2.0
"""The table and the curves of the comparison, from the results files alone.

    python benchmarks/siri_vs_gigpo/table.py          prints; writes table.md and curves_<environment>.png
    python benchmarks/siri_vs_gigpo/table.py --folder benchmarks/siri_vs_gigpo/development/first
    python benchmarks/siri_vs_gigpo/table.py --methods gigpo siri --picture docs/images/siri_vs_gigpo.png

Differences are paired over seeds: Student's t, and a percentile bootstrap beside it, which is narrow with few seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.siri_vs_gigpo.differences import Interval, areas, interval, paired, present  # noqa: E402
from benchmarks.siri_vs_gigpo.picture import draw  # noqa: E402
from benchmarks.siri_vs_gigpo.results import Key, Results  # noqa: E402
from benchmarks.siri_vs_gigpo.settings import FINAL_SEEDS  # noqa: E402
from siri_verl.files import write_text_atomically  # noqa: E402


@dataclass(frozen=True)
class Aim:
    """What the comparison was to show, stated beforehand: a difference of success, and when it counts as shown."""

    method: str
    against: str
    text: str
    least_mean: float | None = None
    low_above: float | None = None
    high_below: float | None = None

    def met(self, found: Interval) -> bool:
        """By the t interval."""
        if found.t is None:
            return False
        return (
            (self.least_mean is None or found.mean >= self.least_mean)
            and (self.low_above is None or found.t[0] > self.low_above)
            and (self.high_below is None or found.t[1] < self.high_below)
        )


AIMS = (
    Aim("siri", "gigpo", "at least +5 points, interval above 0", least_mean=0.05, low_above=0.0),
    Aim("siri_random_skills", "gigpo", "upper end under +5 points", high_below=0.05),
    Aim("siri_skills_in_prompt", "siri", "upper end under +3 points", high_below=0.03),
)


def show(value: Interval | None, bootstrap: bool = False) -> str:
    """`+0.050 (+0.010 to +0.090)`: the mean and one of its intervals, with their signs."""
    if value is None:
        return ""
    ends = value.bootstrap if bootstrap else value.t
    return f"{value.mean:+.3f}" + (f" ({ends[0]:+.3f} to {ends[1]:+.3f})" if ends else " (one seed)")


def each_seed(success: Mapping[Key, float], methods: Sequence[str]) -> list[str]:
    """Success of every run, a row per method and a column per seed, as lines of Markdown."""
    seeds = sorted({seed for _, _, seed in success})
    lines = [f"| method | {' | '.join(map(str, seeds))} |", "|---" * (len(seeds) + 1) + "|"]
    for method in methods:
        mine = {seed: value for (_, m, seed), value in success.items() if m == method}
        lines.append(f"| `{method}` | {' | '.join(f'{mine[s]:.3f}' if s in mine else '' for s in seeds)} |")
    return lines


def each_type(found: Results, environment: str, methods: Sequence[str]) -> list[str]:
    """Success by type of task, the mean over a method's seeds, as lines of Markdown; none where no run has types."""
    runs = {name: found.curves[name]["success_by_type"] for name in sorted(found.rows) if name[0] == environment}
    types = sorted({kind for by_type in runs.values() for kind in by_type})
    if not types:
        return []
    lines = ["", "Success by type of task, mean over seeds:", ""]
    lines += [f"| method | seeds | {' | '.join(types)} |", "|---" * (len(types) + 2) + "|"]
    for method in methods:
        mine = [by_type for (_, m, _), by_type in runs.items() if m == method]
        shares = [[by_type[kind] for by_type in mine if kind in by_type] for kind in types]
        means = [f"{np.mean(each):.2f}" if each else "" for each in shares]
        lines.append(f"| `{method}` | {len(mine)} | {' | '.join(means)} |")
    return lines


def origin(found: Results, environment: str) -> str:
    """Command, seeds, machines, commits and starting weights of the runs in the table."""
    names = sorted(name for name in found.rows if name[0] == environment)
    facts = [found.curves[name]["facts"] for name in names]

    def listed(values: Iterable[str]) -> str:
        return ", ".join(dict.fromkeys(values))  # each once, in the order of the runs

    machines = listed(
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {listed(m['accelerators']) or 'no accelerator'}"
        for m in (fact["machine"] for fact in facts)
    )
    seeds = sorted({seed for _, _, seed in names})
    which = "final" if set(seeds) <= set(FINAL_SEEDS) else f"dev --trial {found.folder.name}"
    return (
        f"Made by `python benchmarks/siri_vs_gigpo/run.py --seeds {which}`; seeds "
        f"{', '.join(map(str, seeds))}; machine: {machines}; "
        f"starting weights {listed(fact['warm_start'][:12] for fact in facts)}; settings "
        f"{listed(fact['settings'] for fact in facts)}; commits {listed(fact['commit'][:7] for fact in facts)}."
    )


def table(found: Results, environment: str) -> str:
    """Everything as Markdown."""
    rows = {name: row for name, row in found.rows.items() if name[0] == environment}
    success = {name: float(row["success"]) for name, row in rows.items()}
    score = {name: float(row["score"]) for name, row in rows.items()}
    under = areas(found, environment)
    methods = present(found, environment)

    def mean(values: Mapping[Key, float], method: str) -> Interval | None:
        mine = [value for (_, m, _), value in sorted(values.items()) if m == method]
        return interval(mine) if mine else None

    def plain(value: Interval | None) -> str:
        if value is None:
            return ""
        return f"{value.mean:.3f}" + (f" ({value.t[0]:.3f} to {value.t[1]:.3f})" if value.t else "")

    lines = [
        f"## {environment}",
        "",
        "Mean over seeds (95 %, Student's t). Differences, of success or of the area, are paired over common seeds.",
        "",
        "| method | seeds | success | score | area under curve | method - gigpo, t | bootstrap | area - gigpo, t "
        "| siri - method, t |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in methods:
        minus = paired(success, environment, method, "gigpo") if method != "gigpo" else None
        minus_area = paired(under, environment, method, "gigpo") if method != "gigpo" else None
        cells = [
            f"`{method}`",
            str(sum(m == method for _, m, _ in rows)),
            *(plain(mean(values, method)) for values in (success, score, under)),
            *(show(minus), show(minus, bootstrap=True), show(minus_area)),
            show(paired(success, environment, "siri", method) if method != "siri" else None),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    costs = ("env_steps", "generated_tokens", "mining_tokens", "gradient_rows", "wall_seconds")
    lines += [
        "",
        "Cost of a run, mean over seeds:",
        "",
        f"| method | {' | '.join(costs)} |",
        "|---|---|---|---|---|---|",
    ]
    for method in methods:
        mine = [row for (_, m, _), row in rows.items() if m == method]
        numbers = [f"{np.mean([row[cost] for row in mine]):,.0f}" for cost in costs]
        lines.append(f"| `{method}` | {' | '.join(numbers)} |")
    lines += [
        "",
        "What was to be shown:",
        "",
        "| difference of success | aim | found | seeds | |",
        "|---|---|---|---|---|",
    ]
    for aim in AIMS:
        difference = paired(success, environment, aim.method, aim.against)
        verdict = "not run" if difference is None else "met" if aim.met(difference) else "missed"
        seeds = difference.n if difference else 0
        lines.append(f"| {aim.method} - {aim.against} | {aim.text} | {show(difference)} | {seeds} | {verdict} |")
    lines += ["", "Success of each run:", "", *each_seed(success, methods)]
    lines += [*each_type(found, environment, methods), "", origin(found, environment)]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=HERE, help="where results.json and curves.json lie")
    parser.add_argument("--picture", type=Path, help="write this picture of --methods, and nothing else")
    parser.add_argument("--methods", nargs="+", default=["gigpo", "siri"], help="of --picture; default: gigpo siri")
    asked = parser.parse_args(arguments)
    folder, found = asked.folder, Results(asked.folder)
    environments = sorted({name[0] for name in found.rows})
    if not environments:
        sys.exit(f"{found.rows_file}: no finished run; run.py makes them")
    if asked.picture is not None:
        (environment,) = environments
        if unknown := set(asked.methods) - set(present(found, environment)):
            sys.exit(f"--methods {' '.join(sorted(unknown))}: no finished run; use {present(found, environment)}")
        draw(found, environment, asked.picture, asked.methods)
        return
    text = "\n".join(table(found, environment) for environment in environments)
    print(text)
    write_text_atomically(folder / "table.md", text)
    for environment in environments:
        draw(found, environment, folder / f"curves_{environment}.png")


if __name__ == "__main__":
    main()
