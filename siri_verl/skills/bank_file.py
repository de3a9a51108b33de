# SPDX-License-Identifier: Apache-2.0
"""The bank's file: JSON lines, the first a header, then one record per line, in order.

    {"record": "bank", "version": 1, "records": 3, "utility": {"decision": "ema", ...}}
    {"record": "skill", "id": "s0001", "task_type": "kitchen", "condition": "...", "strategy": "...", ...}
    {"record": "evidence", "id": "s0001", "step": 7, "task_id": "...", "delta": 0.25, "skill_mean": 0.5, ...}
    {"record": "decision", "id": "s0001", "step": 19, "before": "candidate", "after": "active", "reason": "...", ...}

Reading checks every line against the ones before it, so a file that was cut off or changed by hand is recognised, with
the line and what is wrong with it. Writing replaces the file in one step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from siri_verl.core.decision import Decision, UtilitySettings
from siri_verl.files import write_text_atomically
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.skills.skill import Evidence, Provenance, Skill

BANK_FILE = "skills.jsonl"
"""In a run's folder and in every checkpoint."""
BANK_VERSION = 1
ANY_LENGTH = BankSettings(max_skills=10**9, max_condition_chars=10**6, max_strategy_chars=10**6)
"""For readers: a bank is read whatever caps its run had."""
CONSISTENT = 1e-6
"""Delta and the arms' means may differ by rounding, not by more."""
_PROVENANCE = tuple(f.name for f in fields(Provenance))
_SKILL = ("id", "task_type", "condition", "strategy", *_PROVENANCE, "neutralised", "control")
_EVIDENCE = ("id", *(f.name for f in fields(Evidence)))
_DECISION = ("id", *(f.name for f in fields(Decision) if f.name != "skill_id"))
_TEXT = frozenset("id task_type condition strategy control task_id trajectory miner before after rule reason".split())
_WHOLE = frozenset({"step", "neutralised", "skill_n", "plain_n", "groups"})
_MAYBE = frozenset({"e_value", "e_threshold"})


class BankFileError(ValueError):
    """A bank file cannot be read. The message names the file, the line and what to do."""


def dump_bank(bank: SkillBank) -> str:
    """The file's content. Cheap: records are kept as lines, so a snapshot can be handed to a thread that writes it."""
    header = {
        "record": "bank",
        "version": BANK_VERSION,
        "records": len(bank.lines),
        "utility": asdict(bank.book.settings),
    }
    return "\n".join([json.dumps(header), *bank.lines]) + "\n"


def save_bank(bank: SkillBank, path: str | Path) -> None:
    """Write the bank; a reader or a crash sees the old file or the new one."""
    write_text_atomically(Path(path), dump_bank(bank))


def load_bank(
    path: str | Path,
    settings: BankSettings | None = None,
    utility: UtilitySettings | None = None,
    special_tokens: Sequence[str] = (),
) -> SkillBank:
    """Read a bank.

    Args:
        path: the file, or the folder of the run or checkpoint that holds it.
        settings: caps of the bank from here on.
        utility: the decision rule from here on; None takes the one the file was written with.
        special_tokens: as in `SkillBank`. Control tokens found in a text (changed by hand) are neutralised and
            counted.

    Raises:
        BankFileError: no such file, another version, cut off, or changed by hand so that lines contradict each other.
    """
    path = bank_path(path)
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text.split("\n")
    if not text.endswith("\n"):
        raise BankFileError(
            f"{path}, line {len(lines)}: the file ends in the middle of a line; {_restore(len(lines) - 2)}"
        )
    lines.pop()
    header = _parse(path, 1, lines[0] if lines else "")
    if header.get("record") != "bank":
        raise BankFileError(
            f'{path}, line 1: expected the header {{"record": "bank", ...}}; this is not a skill bank; give a bank '
            f"file ({BANK_FILE} of a run's or a checkpoint's folder)"
        )
    if header.get("version") != BANK_VERSION:
        raise BankFileError(
            f"{path}, line 1: version {header.get('version')!r}, this program reads version {BANK_VERSION}; give a "
            "bank file that it wrote, or read this one with the release of siri_verl that wrote it"
        )
    if header.get("records") != len(lines) - 1:
        raise BankFileError(
            f"{path}, line 1: the header counts {header.get('records')} records, {len(lines) - 1} follow; the file was "
            f"cut off or changed; {_restore(len(lines) - 1)}"
        )
    try:
        rule = utility or UtilitySettings(**header.get("utility", {}))
        bank = SkillBank(settings, rule, special_tokens)
    except (TypeError, ValueError) as error:
        raise BankFileError(f"{path}, line 1: utility settings: {error}") from error
    for number, line in enumerate(lines[1:], 2):
        record = _parse(path, number, line)
        reader = _READERS.get(str(record.get("record")))
        if reader is None:
            kinds = ", ".join(_READERS)
            raise BankFileError(f"{path}, line {number}: record {record.get('record')!r}, must be one of {kinds}")
        try:
            reader(bank, record)
        except (KeyError, TypeError, ValueError) as error:
            reason = error.args[0] if error.args else error
            raise BankFileError(f"{path}, line {number}: {reason}") from error
    return bank


def bank_path(path: str | Path) -> Path:
    """The bank's file: `path` itself, or the one in the run's or checkpoint's folder that it names.

    Raises:
        BankFileError: there is none; the message says what to give.
    """
    given = Path(path).expanduser()
    file = given / BANK_FILE if given.is_dir() else given
    if not file.is_file():
        raise BankFileError(
            f"{file}: no such file; give a bank file ({BANK_FILE}), or a run's or a checkpoint's folder"
        )
    return file


def _restore(records: int) -> str:
    return f'restore it, or, to keep what is there, set "records" in line 1 to {max(records, 0)} and end the last line'


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise BankFileError(
            f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}): {line[:60]!r}"
        ) from error
    if not isinstance(data, dict):
        raise BankFileError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
    return data


def _fields(record: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The record's values, each of its kind."""
    given = {name: value for name, value in record.items() if name != "record"}
    if set(given) != set(names):
        odd = sorted(set(names) ^ set(given))
        raise ValueError(f"{record['record']}: missing or unknown fields {', '.join(odd)}")
    for name, value in given.items():
        if name in _TEXT:
            good = isinstance(value, str)
        elif name in _WHOLE:
            good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else:
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6
            good = number or (value is None and name in _MAYBE)
        if not good:
            raise ValueError(f"{record['record']}: {name} is {value!r}")
    return given


def _read_skill(bank: SkillBank, record: dict[str, Any]) -> None:
    given = _fields(record, _SKILL)
    if given["id"] in bank.skills:
        raise ValueError(f"skill {given['id']!r} occurs twice")
    s = bank.settings
    clean = {}
    for name, limit in (("condition", s.max_condition_chars), ("strategy", s.max_strategy_chars), ("control", 10**6)):
        try:
            safe = neutralise(given[name], bank.special_tokens)
        except UnsafeTextError as error:
            raise ValueError(f"skill {given['id']!r}: {name}: {error}") from error
        given["neutralised"] += safe.neutralised
        clean[name] = safe.text
        if not safe.text and name != "control":
            raise ValueError(f"skill {given['id']!r}: {name} is empty")
        if len(safe.text) > limit:
            raise ValueError(f"skill {given['id']!r}: {name} has {len(safe.text)} characters, the cap is {limit}")
    skill = Skill(
        skill_id=given["id"],
        task_type=given["task_type"],
        provenance=Provenance(**{name: given[name] for name in _PROVENANCE}),
        neutralised=given["neutralised"],
        condition=clean["condition"],
        strategy=clean["strategy"],
        control=clean["control"],
    )
    bank.enter(skill)


def _read_repeat(bank: SkillBank, record: dict[str, Any]) -> None:
    given = _fields(record, ("id", *_PROVENANCE))
    if given["id"] not in bank.skills:
        raise ValueError(f"repeat of skill {given['id']!r}, which no line above enters")
    bank.repeat(given.pop("id"), Provenance(**given))


def _read_evidence(bank: SkillBank, record: dict[str, Any]) -> None:
    given = _fields(record, _EVIDENCE)
    skill_id = given.pop("id")
    if skill_id not in bank.skills:
        raise ValueError(f"evidence about skill {skill_id!r}, which no line above enters")
    evidence = Evidence(**given)
    if abs(evidence.delta - (evidence.skill_mean - evidence.plain_mean)) > CONSISTENT:
        raise ValueError(
            f"evidence about {skill_id}: delta {evidence.delta} is not skill_mean {evidence.skill_mean} - plain_mean "
            f"{evidence.plain_mean}; the line was changed"
        )
    bank.replay_evidence(skill_id, evidence)


def _read_decision(bank: SkillBank, record: dict[str, Any]) -> None:
    given = _fields(record, _DECISION)
    skill_id = given.pop("id")
    if skill_id not in bank.skills:
        raise ValueError(f"decision about skill {skill_id!r}, which no line above enters")
    decision = Decision(skill_id=skill_id, **given)
    state = bank.book.state(skill_id)
    groups = state.groups - state.since
    if decision.groups != groups:
        raise ValueError(
            f"decision about {skill_id}: rests on {decision.groups} groups, {groups} stand above it; lines were changed"
        )
    bank.replay_decision(decision)


_READERS: dict[str, Callable[[SkillBank, dict[str, Any]], None]] = {
    "skill": _read_skill,
    "repeat": _read_repeat,
    "evidence": _read_evidence,
    "decision": _read_decision,
}
