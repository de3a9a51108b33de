# SPDX-License-Identifier: Apache-2.0
"""The summary of an evaluation as a table and as lines of text, for the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Success with its intervals and score, by task type and for all tasks."""
    settings, level = summary["settings"], f"{summary['level']:.0%}"
    title = f"{settings['model']['name']} on {settings['environment']['name']}, {settings['panel']['split']}"
    table = Table(title=Text(title), box=SIMPLE_HEAD)
    table.add_column("task type")
    for name in ("tasks", "episodes", "success", f"{level}, tasks", f"{level}, Wilson", "score"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in summary["by_type"].items():
        table.add_row(Text(name), *_cells(row))
    table.add_section()
    table.add_row("all", *_cells(summary))
    return table


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The parts of the summary that the table does not hold, as text."""
    settings, shares = summary["settings"], summary["shares"]
    sampling, prompting, score = settings["sampling"], settings["prompting"], summary["score"]
    lines = [
        f"prompt {prompting['kind']}{', with skills of ' + settings['bank']['file'] if settings['bank'] else ''}; "
        f"temperature {sampling['temperature']}, top_p {sampling['top_p']}, top_k {sampling['top_k']}; seed "
        f"{settings['seed']}; {settings['repeats']} episode(s) per task, at most {settings['max_turns']} turns",
        f"score {score['mean']:.3f} ({score['low']:.3f}-{score['high']:.3f} over tasks); turns {summary['turns']:.2f}; "
        f"{_tokens(summary)}; of the turns, invalid {_share(shares['invalid'])}, inadmissible "
        f"{_share(shares['inadmissible'])}, reply cut {_share(shares['reply_cut'])}, history shortened "
        f"{_share(shares['history_dropped'])}",
    ]
    repetitions = summary["success_by_repetition"]
    if repetitions["std"] is not None:
        values = " ".join(f"{value:.3f}" for value in repetitions["values"])
        lines.append(f"success of each repetition of the panel: {values} (standard deviation {repetitions['std']:.3f})")
    if summary["trials"]:
        lines.append("solved within 1, 2, ... trials: " + " ".join(f"{share:.3f}" for share in summary["trials"]))
    if summary["skills"]:
        skills = summary["skills"]
        lines.append(
            f"skills shown in {_share(skills['shown_share'])} of the episodes, left out for length in "
            f"{_share(skills['left_out_share'])}"
        )
    if summary.get("failed_tasks"):
        named = "; ".join(f"{task}: {reason}" for task, reason in summary["failed_tasks"].items())
        lines.append(f"{len(summary['failed_tasks'])} task(s) cannot be played and do not count: {named}")
    if summary["against"]:
        other = summary["against"]
        effects = (
            f"{name} {e['effect']:+.3f} ({e['low']:+.3f} to {e['high']:+.3f}, {e['tasks']} tasks)"
            for name, e in other.items()
            if name != "folder"
        )
        lines.append(f"this minus {other['folder']}, paired by task: " + ", ".join(effects))
    return lines


def _cells(row: Mapping[str, Any]) -> list[str]:
    success, wilson = row["success"], row["success"]["wilson"]
    return [
        str(row["tasks"]),
        str(row["samples"]),
        f"{success['mean']:.3f}",
        f"{success['low']:.3f}-{success['high']:.3f}",
        f"{wilson[0]:.3f}-{wilson[1]:.3f}",
        f"{row['score']['mean']:.3f}",
    ]


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}"


def _tokens(summary: Mapping[str, Any]) -> str:
    counts = summary["reply_tokens"]
    if counts is None:
        return "tokens not counted by the endpoint"
    return f"{counts['per_episode']:.0f} tokens written per episode, {counts['per_turn']:.1f} per turn"
