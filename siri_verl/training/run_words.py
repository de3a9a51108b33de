# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
