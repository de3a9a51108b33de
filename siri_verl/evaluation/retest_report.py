# SPDX-License-Identifier: Apache-2.0
"""A re-test as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from siri_verl.core.statistics import PairedEffect
from siri_verl.evaluation.retest import RetestReport

REPORT_VERSION = 1


def retest_table(report: RetestReport) -> Table:
    """The results, skill by skill."""
    table = Table(title="skills re-tested on fresh tasks, in success units")
    for name in ("skill", "type"):
        table.add_column(name, no_wrap=True)
    for name in ("pairs", "tasks", "plain", "with skill", "effect", f"{report.level:.0%} interval", "Delta in the run"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("says")
    for result in report.skills:
        left_out = f" (+{result.left_out} left out)" if result.left_out else ""
        trained = "-" if result.trained_mean is None else f"{result.trained_mean:+.3f} of {result.trained_groups}"
        table.add_row(
            result.skill_id,
            escape(result.task_type),
            f"{result.success.pairs}{left_out}",
            *_cells(result.success),
            trained,
            escape(result.block),
        )
    table.add_section()
    table.add_row("all", "", str(report.overall.pairs), *_cells(report.overall), "", "")
    return table


def _cells(effect: PairedEffect) -> list[str]:
    if not effect.pairs:
        return ["0", "-", "-", "-", "-"]
    style = "green" if effect.positive else "red" if effect.negative else "default"
    return [
        str(effect.tasks),
        f"{effect.plain:.3f}",
        f"{effect.skill:.3f}",
        f"[{style}]{effect.effect:+.3f}[/]",
        f"{effect.low:+.3f} to {effect.high:+.3f}",
    ]


def report_json(report: RetestReport, about: Mapping[str, Any]) -> str:
    """The report as JSON, with what it is about (model, sampling, panel, seed); every pair is in it.

    A comparison without pairs has null in place of its numbers.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return None if isinstance(value, float) and value != value else value

    content = {"version": REPORT_VERSION, **about, **plain(asdict(report))}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"
