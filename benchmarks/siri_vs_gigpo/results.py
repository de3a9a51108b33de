# SPDX-License-Identifier: Apache-2.0
"""Finished runs on disk: results.json, one row per run, and curves.json, the way there. README.md has both schemas."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from siri_verl.core.phases import INTERNALIZATION, MINING, PHASES
from siri_verl.core.rules import ACTIVE
from siri_verl.files import write_text_atomically
from siri_verl.report.curve import read_curve
from siri_verl.report.skills import skill_lives
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics
from siri_verl.skills.bank_file import load_bank

RESULT: dict[str, type] = {
    "environment": str,
    "method": str,
    "seed": int,
    "env_steps": int,
    "tasks": int,
    "success": float,
    "score": float,
    "generated_tokens": int,
    "mining_tokens": int,
    "gradient_rows": int,
    "wall_seconds": float,
}
CURVE: dict[str, type] = {
    "environment": str,
    "method": str,
    "seed": int,
    "points": list,
    "facts": dict,
    "success_by_type": dict,
    "active_skills": list,
}
POINT: dict[str, type] = {
    "step": int,
    "env_steps": int,
    "success": float,
    "low": float,
    "high": float,
    "episodes": int,
    "by_category": dict,
}
SKILL: dict[str, type] = {
    "id": str,
    "task_type": str,
    "text": str,
    "groups": int,
    "mean": float,
    "low": float,
    "high": float,
    "utility": float,
}
FACTS: dict[str, type] = {
    "settings": str,
    "overrides": list,
    "commit": str,
    "machine": dict,
    "warm_start": str,
    "self_imitation_tokens": int,
    "mining_steps": int,
}

Key = tuple[str, str, int]
"""(environment, method, seed)."""


class ResultsError(ValueError):
    """A results file that is damaged or of other settings. The message names the file, the row and the fix."""


class Results:
    """The two files of a folder.

    A row and its curve are two writes; the curve goes first, and only a run with both is finished.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows_file, self.curves_file = folder / "results.json", folder / "curves.json"
        self.read()

    def read(self) -> None:
        """Take in what the files hold now."""
        self.rows = {key(row): row for row in _read(self.rows_file, RESULT)}
        self.curves = {key(curve): curve for curve in _read(self.curves_file, CURVE)}
        for name, curve in self.curves.items():
            _check_parts(self.curves_file, f"curve of {name}", curve)
        if lost := sorted(set(self.rows) - set(self.curves)):
            raise ResultsError(f"{self.rows_file}: {lost[0]} has no curve in {self.curves_file.name}; delete its row")

    @property
    def finished(self) -> set[Key]:
        """Runs that need not be run."""
        return set(self.rows)

    def check_settings(self, environment: str, fingerprints: Mapping[str, str]) -> None:
        """Raise ResultsError if finished runs of the environment were made under other settings.

        Args:
            environment: its name.
            fingerprints: method -> hash of its present settings.
        """
        for name in sorted(self.finished):
            theirs = self.curves[name]["facts"]["settings"]
            present = fingerprints.get(name[1])
            if name[0] == environment and theirs != present:
                raise ResultsError(
                    f"{self.curves_file}: {name} was run under settings {theirs}, present ones are {present}; "
                    "restore settings.py, or delete the rows of both files and run all again"
                )

    def facts(self, name: Key) -> dict[str, Any] | None:
        """What is known about a finished run beside its numbers."""
        return self.curves[name]["facts"] if name in self.rows else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other process that does the same writes to the folder; what was written is taken in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.read()
            yield
        finally:
            os.close(handle)

    def add(self, row: Mapping[str, Any], curve: Mapping[str, Any]) -> None:
        """Enter a finished run, at once and for good; inside `alone` where other processes may write."""
        _check(self.rows_file, "new row", row, RESULT)
        _check(self.curves_file, "new curve", curve, CURVE)
        _check_parts(self.curves_file, "new curve", curve)
        if key(row) != key(curve) or key(row) in self.rows:
            raise ResultsError(f"{self.rows_file}: {key(row)} is there already, or its curve is of {key(curve)}")
        self.curves[key(curve)] = dict(curve)
        _write(self.curves_file, self.curves)
        self.rows[key(row)] = dict(row)
        _write(self.rows_file, self.rows)


def key(entry: Mapping[str, Any]) -> Key:
    """Which run an entry is of."""
    return entry["environment"], entry["method"], entry["seed"]


def training_numbers(run: Path) -> dict[str, int | float]:
    """What a run's training cost, phase 0 included (a fork carries its metrics on).

    Returns:
        env_steps: training `env.step`s of both arms; generated_tokens: of training episodes; mining_tokens: generated
        while mining, beside them; gradient_rows: turns and internalization rows that were learned from; wall_seconds:
        of the iterations, without start-up, validation and the final evaluation.

    Raises:
        ResultsError: an iteration lacks one of them.
    """
    steps = [record for record in read_metrics(RunFolder(run).metrics) if record["kind"] == "train"]
    totals = {"env_steps": 0, "generated_tokens": 0, "mining_tokens": 0, "gradient_rows": 0, "wall_seconds": 0.0}
    for record in steps:
        metrics = record["metrics"]
        try:
            totals["env_steps"] = int(metrics["siri/env_steps_total"])
            totals["generated_tokens"] += int(metrics["siri/generated_tokens"])
            totals["mining_tokens"] += int(metrics.get("siri/mining/generated_tokens", 0))
            totals["gradient_rows"] += int(metrics["siri/rows"] + metrics["siri/internalization/rows_added"])
            totals["wall_seconds"] += float(metrics["timing_s/step"])
        except KeyError as error:
            raise ResultsError(f"{RunFolder(run).metrics}: step {record['step']} has no {error}") from error
    return totals | {"wall_seconds": round(float(totals["wall_seconds"]), 1)}


def control_numbers(run: Path) -> dict[str, int]:
    """What the self-imitation control takes from a run: gated tokens per step of internalization, steps of mining."""
    phases = {MINING: 0, INTERNALIZATION: 0}
    tokens = 0.0
    for record in read_metrics(RunFolder(run).metrics):
        if record["kind"] == "train":
            phase = PHASES[int(record["metrics"]["siri/phase"])]
            phases[phase] = phases.get(phase, 0) + 1
            tokens += record["metrics"].get("siri/internalization/tokens_gated") or 0.0
    per_step = round(tokens / phases[INTERNALIZATION]) if phases[INTERNALIZATION] else 0
    return {"self_imitation_tokens": per_step, "mining_steps": phases[MINING]}


def curve_points(run: Path) -> list[dict[str, Any]]:
    """The validations of a run, success in all and by type of task."""
    return [{name: getattr(point, name) for name in POINT} for point in read_curve(run)]


def active_skills(bank: Path) -> list[dict[str, Any]]:
    """The active skills of a checkpoint's bank with their evidence.

    Returns:
        of each skill id, task_type, text; groups: paired groups it was tested in; mean, low, high: of Delta over them,
        with the anytime-valid interval that decisions show; utility.

    Raises:
        BankFileError: the bank is not there, or damaged; every run keeps one.
    """
    found = []
    for life in skill_lives(load_bank(bank)):
        skill = life.skill
        if skill.status != ACTIVE:
            continue
        low, high = life.interval
        numbers = {"mean": life.mean_delta, "low": low, "high": high, "utility": life.utility}
        rounded = {name: round(float(value), 4) for name, value in numbers.items()}
        found.append(
            {
                "id": skill.skill_id,
                "task_type": skill.task_type,
                "text": skill.block,
                "groups": len(skill.evidence),
                **rounded,
            }
        )
    return found


def _read(path: Path, schema: Mapping[str, type]) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON ({error}); restore the committed file") from error
    if not isinstance(entries, list):
        raise ResultsError(f"{path}: holds {type(entries).__name__}, expected a list; restore the committed file")
    for number, entry in enumerate(entries):
        _check(path, f"entry {number}", entry, schema)
    if len({key(entry) for entry in entries}) < len(entries):
        raise ResultsError(f"{path}: a run stands in it twice; delete one")
    return entries


def _check(path: Path, where: str, entry: Any, schema: Mapping[str, type]) -> None:
    """Raise ResultsError unless the entry has exactly the schema's fields, of its types."""
    if not isinstance(entry, Mapping) or set(entry) != set(schema):
        found = sorted(set(entry) ^ set(schema)) if isinstance(entry, Mapping) else entry
        raise ResultsError(f"{path}, {where}: fields must be {', '.join(schema)}; missing or unknown: {found}")
    for name, kind in schema.items():
        kinds = (int, float) if kind is float else (kind,)
        if not isinstance(entry[name], kinds) or isinstance(entry[name], bool):
            raise ResultsError(f"{path}, {where}: {name}={entry[name]!r}, expected {kind.__name__}")


def _check_parts(path: Path, where: str, curve: Mapping[str, Any]) -> None:
    """Raise ResultsError unless what a curve's entry holds is of its schema."""
    _check(path, f"{where}: facts", curve["facts"], FACTS)
    _check_shares(path, f"{where}: success_by_type", curve["success_by_type"])
    for point in curve["points"]:
        _check(path, f"{where}: a point", point, POINT)
        _check_shares(path, f"{where}: by_category of step {point['step']}", point["by_category"])
    for skill in curve["active_skills"]:
        _check(path, f"{where}: a skill", skill, SKILL)


def _check_shares(path: Path, where: str, found: Mapping[str, Any]) -> None:
    """Raise ResultsError unless every value is a share."""
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ResultsError(f"{path}, {where}: {name}={value!r}, expected a number from 0 to 1")


def _write(path: Path, entries: Mapping[Key, Mapping[str, Any]]) -> None:
    """One entry per line, so that runs of several machines merge."""
    ordered: Sequence[str] = [json.dumps(entries[name], ensure_ascii=False) for name in sorted(entries)]
    write_text_atomically(path, "[\n" + ",\n".join(ordered) + "\n]\n")
