# SPDX-License-Identifier: Apache-2.0
"""The bank's file: JSON lines, the first a header, then one record per line, in order.

    {"record": "bank", "version": 1, "records": 3, "utility": {"decision": "ema", ...}}
    {"record": "skill", "id": "s0001", "task_type": "kitchen", "condition": "...", "strategy": "...", ...}
    {"record": "evidence", "id": "s0001", "step": 7, "task_id": "...", "delta": 0.25, "skill_mean": 0.5, ...}
    {"record": "decision", "id": "s0001", "step": 19, "before": "candidate", "after": "active", "reason": "...", ...}

This is the only module that makes or reads the bank's JSON. Reading checks every line against the lines before it:
for a file that was cut off or changed by hand, the error names the line and what is wrong with it. Writing replaces the
file in one step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_type_hints
from weakref import WeakKeyDictionary

from siri_verl.core.decisions import Decision
from siri_verl.core.rules import UtilitySettings
from siri_verl.files import parse_json, write_text_atomically
from siri_verl.skills.bank import BankSettings, SkillBank
from siri_verl.skills.sanitize import UnsafeTextError, neutralise
from siri_verl.skills.skill import Event, Evidence, Provenance, Repeat, Skill

BANK_FILE = "skills.jsonl"
"""In a run's folder and in every checkpoint."""
BANK_VERSION = 1
ANY_LENGTH = BankSettings(max_skills=10**9, max_condition_chars=10**6, max_strategy_chars=10**6)
"""For tools that only read a bank: no cap of the run applies."""
CONSISTENT = 1e-6
"""Largest difference between Delta and the difference of the arms' means that counts as rounding."""
_SKILL = ("skill_id", "task_type", "condition", "strategy", "provenance", "neutralised", "control")
_lines: WeakKeyDictionary[SkillBank, list[str]] = WeakKeyDictionary()
"""The lines of each bank that was written, so that a bank written every step renders only its new events."""


class BankFileError(ValueError):
    """A bank file cannot be read. The message names the file, the line and what to do."""


def dump_bank(bank: SkillBank) -> str:
    """The content of the bank's file. Takes time for the events since the last call with this bank."""
    lines = _lines.setdefault(bank, [])
    lines += [_line(event) for event in bank.events[len(lines) :]]
    header = {"record": "bank", "version": BANK_VERSION, "records": len(lines), "utility": asdict(bank.book.settings)}
    return "\n".join([json.dumps(header), *lines]) + "\n"


def save_bank(bank: SkillBank, path: str | Path) -> None:
    """Write the bank; a reader at the same time, or one after a crash, finds the old file or the new one."""
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
        settings: caps of the bank.
        utility: the decision rule from now on; None: the rule that the file states.
        special_tokens: as in `SkillBank`. Control tokens in a text (changed by hand) are removed and counted.

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
        bank = SkillBank(settings, utility or UtilitySettings(**header.get("utility", {})), special_tokens)
    except (TypeError, ValueError) as error:
        raise BankFileError(f"{path}, line 1: utility settings: {error}") from error
    for number, line in enumerate(lines[1:], 2):
        record = _parse(path, number, line)
        reader = _READERS.get(str(record.get("record")))
        if reader is None:
            kinds = ", ".join(_READERS)
            raise BankFileError(f"{path}, line {number}: record {record.get('record')!r}, must be one of {kinds}")
        try:
            reader(bank, _checked(bank, record))
        except (KeyError, TypeError, ValueError) as error:
            reason = error.args[0] if error.args else error
            raise BankFileError(f"{path}, line {number}: {reason}") from error
    return bank


def bank_path(path: str | Path) -> Path:
    """The bank's file: `path` itself, or the one in the run's or checkpoint's folder that it names.

    Raises:
        BankFileError: there is none; the message states what to give.
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
        data = parse_json(line)
    except json.JSONDecodeError as error:
        raise BankFileError(
            f"{path}, line {number}: not JSON ({error.msg} at column {error.colno}): {line[:60]!r}"
        ) from error
    if not isinstance(data, dict):
        raise BankFileError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
    return data


def _line(event: Event) -> str:
    if isinstance(event, Skill):
        values = {
            "record": "skill",
            "id": event.skill_id,
            "task_type": event.task_type,
            "condition": event.condition,
            "strategy": event.strategy,
            **vars(event.provenance),
            "neutralised": event.neutralised,
            "control": event.control,
        }
    elif isinstance(event, Repeat):
        values = {"record": "repeat", "id": event.skill_id, **vars(event.provenance)}
    else:
        kind = "evidence" if isinstance(event, Evidence) else "decision"
        values = {"record": kind, "id": event.skill_id, **vars(event)}
        del values["skill_id"]
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _types(cls: type, names: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass (or some of them) as a record has them: name -> type; provenance is flat."""
    hints = get_type_hints(cls)
    types: dict[str, Any] = {}
    for name in names or [field.name for field in fields(cls)]:
        if hints[name] is Provenance:
            types |= _types(Provenance)
        else:
            types["id" if name == "skill_id" else name] = hints[name]
    return types


_TYPES = {
    "skill": _types(Skill, _SKILL),
    "repeat": _types(Repeat),
    "evidence": _types(Evidence),
    "decision": _types(Decision),
}


def _checked(bank: SkillBank, record: dict[str, Any]) -> dict[str, Any]:
    """The record's values, each of the type of its field; `id` is named `skill_id`, `record` is left out."""
    kind, types = record["record"], _TYPES[record["record"]]
    given = {name: value for name, value in record.items() if name != "record"}
    if set(given) != set(types):
        odd = sorted(set(types) ^ set(given))
        raise ValueError(f"{kind}: missing or unknown fields {', '.join(odd)}")
    for name, value in given.items():
        if not _is_a(value, types[name]):
            raise ValueError(f"{kind}: {name} is {value!r}")
    if kind != "skill" and given["id"] not in bank.skills:
        link = "of" if kind == "repeat" else "about"
        raise ValueError(f"{kind} {link} skill {given['id']!r}, which no line above enters")
    return {"skill_id": given.pop("id"), **given}


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value from JSON can be a field of this type: text, a count, a number or a number that may be null."""
    if kind is str:
        return isinstance(value, str)
    if value is None:
        return kind == float | None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) and value >= 0 if kind is int else abs(value) < 1e6


def _read_skill(bank: SkillBank, given: dict[str, Any]) -> None:
    skill_id, caps = given["skill_id"], bank.settings
    if skill_id in bank.skills:
        raise ValueError(f"skill {skill_id!r} occurs twice")
    limits = {"condition": caps.max_condition_chars, "strategy": caps.max_strategy_chars, "control": 10**6}
    for name, limit in limits.items():
        try:
            safe = neutralise(given[name], bank.special_tokens)
        except UnsafeTextError as error:
            raise ValueError(f"skill {skill_id!r}: {name}: {error}") from error
        given[name] = safe.text
        given["neutralised"] += safe.neutralised
        if not safe.text and name != "control":
            raise ValueError(f"skill {skill_id!r}: {name} is empty")
        if len(safe.text) > limit:
            raise ValueError(f"skill {skill_id!r}: {name} has {len(safe.text)} characters, the cap is {limit}")
    bank.enter(Skill(provenance=_pop_provenance(given), **given))


def _read_repeat(bank: SkillBank, given: dict[str, Any]) -> None:
    bank.repeat(given["skill_id"], _pop_provenance(given))


def _pop_provenance(given: dict[str, Any]) -> Provenance:
    return Provenance(**{field.name: given.pop(field.name) for field in fields(Provenance)})


def _read_evidence(bank: SkillBank, given: dict[str, Any]) -> None:
    evidence = Evidence(**given)
    if abs(evidence.delta - (evidence.skill_mean - evidence.plain_mean)) > CONSISTENT:
        raise ValueError(
            f"evidence about {evidence.skill_id}: delta {evidence.delta} is not skill_mean {evidence.skill_mean} - "
            f"plain_mean {evidence.plain_mean}; the line was changed"
        )
    bank.replay_evidence(evidence)


def _read_decision(bank: SkillBank, given: dict[str, Any]) -> None:
    decision = Decision(**given)
    state = bank[decision.skill_id].state
    groups = state.groups - state.since
    if decision.groups != groups:
        raise ValueError(
            f"decision about {decision.skill_id}: rests on {decision.groups} groups, {groups} stand above it; lines "
            "were changed"
        )
    bank.replay_decision(decision)


_READERS: dict[str, Callable[[SkillBank, dict[str, Any]], None]] = {
    "skill": _read_skill,
    "repeat": _read_repeat,
    "evidence": _read_evidence,
    "decision": _read_decision,
}
