# SPDX-License-Identifier: Apache-2.0
"""What a run says on its output while skills are mined, tested and decided about."""

from __future__ import annotations

from collections.abc import Iterable

from siri_verl.core.utility import Decision
from siri_verl.skills.mining import MiningReport
from siri_verl.skills.retrieval import TypePlan


def say_mining(report: MiningReport, plans: Iterable[TypePlan]) -> None:
    """A round of mining, and what is under test from here on, one line per task type."""
    entered = f"skills {', '.join(report.entered)}" if report.entered else "no skill"
    text = f"step {report.step}: mined {entered} from {report.requests} answers"
    if report.problems:
        text += "; turned away: " + ", ".join(f"{name} {count}" for name, count in sorted(report.problems.items()))
    if report.leaks:
        text += f" (quoted {'; '.join(report.leaks)})"
    print(text, flush=True)
    for plan in plans:
        print(f"step {report.step}: plan for {plan}", flush=True)


def say_decisions(decisions: Iterable[Decision], step: int) -> None:
    """What became of skills in a step, and why."""
    for decision in decisions:
        print(f"step {step}: skill {decision.skill_id} {decision.after}: {decision.reason}", flush=True)
