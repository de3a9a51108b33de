# SPDX-License-Identifier: Apache-2.0
"""What a run of recipes/siri_smollm2.sh shows, as Markdown for docs/real_model.md.

python benchmarks/real_model/summarize.py RUN
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from siri_verl.report.tables import skill_list_json
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank

UNREADABLE = (
    "no_condition_and_strategy", "repeated_label", "empty_condition", "empty_strategy", "condition_too_long",
    "strategy_too_long",
)  # fmt: skip
"""Reasons for turning an answer away that say that it was not read (siri_verl/skills/mining_prompt.py)."""


def parsed(metrics: list[dict[str, float]]) -> tuple[int, int]:
    """(answers that were read as condition and strategy, answers) of all mining rounds."""
    asked = int(sum(step.get("siri/mining/requests", 0) for step in metrics))
    bad = sum(step.get(f"siri/mining/turned_away/{reason}", 0) for step in metrics for reason in UNREADABLE)
    return asked - int(bad), asked


def validations(records: list[dict]) -> list[str]:
    """A row per validation: success with its interval, share of well-formed replies, turns."""
    rows = ["| step | success (95 %) | tasks | well-formed replies | turns |", "|---|---|---|---|---|"]
    for record in records:
        m = record["metrics"]
        if record["kind"] == "validation":
            interval = f"{m['siri/val/success_low']:.2f} to {m['siri/val/success_high']:.2f}"
            rows.append(
                f"| {record['step']} | {m['siri/val/success']:.2f} ({interval}) | {m['siri/val/episodes']:.0f} | "
                f"{m['siri/val/valid_share']:.2f} | {m['siri/val/turns']:.1f} |"
            )
    return rows


PHASES = ("warm-up", "mining", "internalization")


def iterations(records: list[dict]) -> list[str]:
    """A row per iteration."""
    rows = [
        "| step | phase | success | well-formed replies | probabilities of server and actor differ by (mean, max) | "
        "internalized rows | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        m = record["metrics"]
        if record["kind"] == "train":
            mean, most = m["training/rollout_probs_diff_mean"], m["training/rollout_probs_diff_max"]
            rows.append(
                f"| {record['step']} | {PHASES[int(m['siri/phase'])]} | {m['siri/success']:.2f} | "
                f"{m['siri/valid_share']:.2f} | {mean:.1e}, {most:.1e} | {m['siri/internalization/rows_added']:.0f} | "
                f"{m['timing_s/step']:.0f} |"
            )
    return rows


def skills(run: Path) -> list[str]:
    """Every skill of the bank, verbatim."""
    rows = ["| skill | task type | condition | strategy | groups | utility | status |", "|---|---|---|---|---|---|---|"]
    for skill in json.loads(skill_list_json(load_bank(run / "skills.jsonl", ANY_LENGTH))):
        texts = (skill[name].replace("|", "\\|") for name in ("condition", "strategy"))
        utility = "" if skill["utility"] is None else f"{skill['utility']:.2f}"
        rows.append(
            f"| {skill['id']} | {skill['task_type']} | {' | '.join(texts)} | {skill['groups']} | {utility} | "
            f"{skill['status']} |"
        )
    return rows


def summary(run: Path) -> str:
    """The whole text."""
    records = read_metrics(run / "metrics.jsonl")
    start = json.loads((run / "run.json").read_text(encoding="utf-8"))["starts"][-1]
    machine = start["machine"]
    good, asked = parsed([record["metrics"] for record in records if record["kind"] == "train"])
    share = f", {good / asked:.0%}" if asked else ""
    return "\n".join(
        [
            f"Commit {start['commit']}, {machine['processor']}, {machine['cores']} cores.",
            "",
            *validations(records),
            "",
            *iterations(records),
            "",
            f"{good} of {asked} answers to mining requests were read as condition and strategy{share}.",
            "Skills, verbatim:",
            "",
            *skills(run),
        ]
    )


if __name__ == "__main__":
    print(summary(Path(sys.argv[1])))
