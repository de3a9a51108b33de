# SPDX-License-Identifier: Apache-2.0
"""Files of trajectories, of runs and of evaluations: JSON lines, format version 2.

    {"record": "header", "schema": "siri_verl.trajectories", "version": 2, "kind": "run", "settings": {}}
    {"record": "trajectory", "version": 2, "source": "validation", "step": 50, "task_id": "...", ..., "turns": [{...}]}

The first line is the header. `kind` is `run` (a sample that training keeps) or `evaluation`; `settings` are those
that decide an evaluation's numbers, empty in a run, whose settings lie beside the file. Every further line is one
`trajectory` (fields: `siri_verl.trajectory.turn.Trajectory`, its turns: `Turn`) or one `reflection` (`Reflection`).
Further fields are ignored.

Files are appended to. A run that goes back to an earlier step moves later trajectories to another file, which has no
header (`siri_verl.files.set_aside`). A resumed run may hold a trajectory twice: the last counts.

Files of version 1 are read too: runs had no header, `skill` for `skill_text`, and neither token counts nor trials;
evaluations had records `episode`, `repetition` for `session`, and no rewards. `_from_version_1` converts both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from siri_verl.core.pairing import PLAIN, SKILL
from siri_verl.files import cut_torn_line, encode, read_json_lines
from siri_verl.trajectory.turn import Reflection, Trajectory, Turn

SCHEMA, VERSION = "siri_verl.trajectories", 2
RUN, EVALUATION = "run", "evaluation"
HEADER, TRAJECTORY, REFLECTION = "header", "trajectory", "reflection"
_EPISODE = "episode"
"""Record of version 1: a trajectory of an evaluation."""
_START, _END = b'{"record": "', b'"}'

T = TypeVar("T")


class TrajectoryFileError(ValueError):
    """A file of trajectories is damaged or not the one asked for. The message names the file, the line and what is
    wrong."""


@dataclass
class TrajectoryFile:
    """Content of a file.

    Attributes:
        kind: `run` or `evaluation`; "" for a file without a line.
        settings: of the header.
        trajectories: in their order; of those with one key, the last.
        reflections: in their order.
    """

    kind: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    trajectories: list[Trajectory] = field(default_factory=list)
    reflections: list[Reflection] = field(default_factory=list)


def header_line(kind: str, settings: Mapping[str, Any]) -> bytes:
    """The first line of a file."""
    return _line({"record": HEADER, "schema": SCHEMA, "version": VERSION, "kind": kind, "settings": dict(settings)})


def record_line(record: Trajectory | Reflection) -> bytes:
    """A record as a line, with the line end."""
    name = TRAJECTORY if isinstance(record, Trajectory) else REFLECTION
    return _line({"record": name, "version": VERSION, **asdict(record)})


def append_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> None:
    """Add trajectories at the end of a run's file; an empty or missing one gets its header. A last line that a crash
    tore is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    with path.open("ab") as file:
        header = b"" if file.tell() else header_line(RUN, {})
        file.write(header + b"".join(map(record_line, trajectories)))


def read_trajectories(path: Path, kind: str | None = None) -> TrajectoryFile:
    """Read and check a file. A last line that is being written, or that a crash tore, is passed over.

    Args:
        path: the file.
        kind: `run` or `evaluation`; None: either.

    Raises:
        FileNotFoundError: there is none.
        TrajectoryFileError: it is of another kind or version, or a line is damaged.
    """
    with path.open("rb") as lines:
        first = next(lines, b"")
    found = TrajectoryFile()
    latest: dict[tuple[Any, ...], Trajectory] = {}
    # Runs of version 1 ended a torn line in place of cutting it off, so theirs may hold one anywhere.
    end = None if first.startswith(b'{"record": "header"') else _END
    for number, record in read_json_lines(path, _START, end, TrajectoryFileError):
        where = f"{path}, line {number}"
        if not isinstance(record, dict):
            raise TrajectoryFileError(f"{where}: {str(record)[:60]!r} is no record; expected an object")
        if not found.kind:
            found.kind, found.settings = _header(record, where)
            if kind not in (None, found.kind):
                writer = "`siri-verl eval`" if kind == EVALUATION else "a training run"
                raise TrajectoryFileError(f"{where}: no header of {SCHEMA}, kind {kind}; {writer} writes such files")
            if record.get("record") == HEADER:
                continue
        read = _record(_from_version_1(record), where)
        if isinstance(read, Reflection):
            found.reflections.append(read)
        else:
            latest[read.key] = read
    found.trajectories = list(latest.values())
    return found


def shortened(text: str, longest: int) -> str:
    """A text of at most `longest` characters, and how many were left out."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]} [{more} more characters]"


def _line(record: Mapping[str, Any]) -> bytes:
    return encode(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def _header(record: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """(kind, settings) by the first record of a file; runs of version 1 and moved records have no header."""
    if record.get("record") != HEADER:
        return RUN, {}
    if record.get("schema") != SCHEMA:
        raise TrajectoryFileError(f"{where}: schema is {record.get('schema')!r}; expected {SCHEMA!r}")
    _check_version(record, where)
    kind, settings = record.get("kind", EVALUATION), record.get("settings")
    if kind not in (RUN, EVALUATION) or not isinstance(settings, dict):
        raise TrajectoryFileError(f"{where}: kind is {kind!r}; expected {RUN} or {EVALUATION}, with settings")
    return kind, settings


def _check_version(record: Mapping[str, Any], where: str) -> None:
    if record.get("version") not in (1, VERSION):
        version = record.get("version")
        raise TrajectoryFileError(f"{where}: version is {version!r}; this siri_verl reads 1 and {VERSION}")


def _from_version_1(record: dict[str, Any]) -> dict[str, Any]:
    """A record of version 1 in the fields of version 2; others unchanged."""
    name = record.get("record")
    if name == TRAJECTORY and record.get("version") == 1:
        return {**record, "skill_text": record.get("skill", "")}
    if name not in (_EPISODE, REFLECTION) or "version" in record:
        return record
    record = {**record, "version": 1}
    if "repetition" in record:
        record["session"] = record.pop("repetition")
    if name == _EPISODE:
        arm = SKILL if record.get("skill_id") else PLAIN
        record |= {"record": TRAJECTORY, "source": EVALUATION, "step": None, "arm": arm}
        if isinstance(record.get("turns"), list):
            record["turns"] = [
                {**turn, "valid": turn.get("problem") is None} if isinstance(turn, dict) else turn
                for turn in record["turns"]
            ]
    return record


def _record(record: dict[str, Any], where: str) -> Trajectory | Reflection:
    name = record.get("record")
    if name not in (TRAJECTORY, REFLECTION):
        known = f"{TRAJECTORY}, {REFLECTION}"
        raise TrajectoryFileError(f'{where}: "record" is {name!r}; known: {known} (siri_verl/trajectory/file.py)')
    _check_version(record, where)
    if name == REFLECTION:
        return _read(Reflection, record, where)
    turns = record.get("turns", [])
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise TrajectoryFileError(f"{where}: turns is {type(turns).__name__}; expected a list of objects")
    read = tuple(_read(Turn, turn, f"{where}, turn {number}") for number, turn in enumerate(turns, 1))
    return _read(Trajectory, {**record, "turns": read} if "turns" in record else record, where)


def _read(schema: type[T], record: Mapping[str, Any], where: str) -> T:
    """The schema's fields out of a record."""
    kinds = _kinds(schema)
    missing = [f.name for f in fields(schema) if f.default is MISSING and f.name not in record]  # type: ignore[arg-type]
    if missing:
        raise TrajectoryFileError(f"{where}: lacks {', '.join(missing)}")
    values = {name: record[name] for name in kinds if name in record}
    for name, value in values.items():
        if type(value) not in kinds[name]:
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds[name])
            raise TrajectoryFileError(f"{where}: {name} is {value!r}; expected {expected}")
        if isinstance(value, float) and not math.isfinite(value):
            raise TrajectoryFileError(f"{where}: {name} is {value!r}; expected a finite number")
    return schema(**values)


@cache
def _kinds(schema: type) -> dict[str, tuple[type, ...]]:
    """Field -> the types its value may have in a file."""
    kinds = {}
    for name, hint in get_type_hints(schema).items():
        options = (tuple,) if name == "turns" else get_args(hint) or (hint,)
        kinds[name] = (*options, int) if float in options else options
    return kinds
