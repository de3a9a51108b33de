# SPDX-License-Identifier: Apache-2.0
"""Task panels: which tasks a run trains or is measured on, as a file.

A panel is a small JSON file; `write_dataset` writes the parquet file that verl's dataset reads. Its prompt column holds
the task id only: the agent loop writes the prompts turn by turn. `Panel.read` reads both forms.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from siri_verl.envs.parquet import ParquetError, read_rows
from siri_verl.files import parse_json, without_surrogates, write_bytes_atomically, write_text_atomically
from siri_verl.outputs import check_no_file

PANEL_VERSION = 1
COLUMNS = ("task_id", "environment", "split")
"""Columns of a panel's parquet file that name its tasks."""
AGENT_NAME = "siri_env"
"""The agent loop that plays the rows (`agent_name` column)."""


class PanelError(ValueError):
    """A panel that is malformed, empty, or overlaps another; the message names file, field and value."""


@dataclass(frozen=True)
class Panel:
    """Tasks of one environment.

    Attributes:
        environment: registered name or gymnasium id.
        env_kwargs: settings of the environment; JSON values.
        split: a name for results, for example "official/validation".
        task_ids: the tasks, each once, in order.
    """

    environment: str
    task_ids: tuple[str, ...]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "task_ids", tuple(self.task_ids))
        if not isinstance(self.environment, str) or not self.environment:
            raise PanelError(f"panel: environment must be a name or gymnasium id, got {self.environment!r}")
        if not self.task_ids:
            raise PanelError(f"panel of {self.environment!r}, split {self.split!r}: task_ids is empty")
        wrong = [task for task in self.task_ids if not isinstance(task, str) or not task]
        if wrong:
            raise PanelError(
                f"panel of {self.environment!r}: task_ids holds {wrong[0]!r}; task ids are non-empty strings"
            )
        for text in (self.environment, self.split, *self.task_ids):
            _check_writable(text, f"panel of {self.environment!r}: {text!r}")
        twice = _repeated(self.task_ids)
        if twice:
            raise PanelError(f"panel of {self.environment!r}: {_name(twice)} occur(s) twice in task_ids")

    def subset(self, size: int, seed: int) -> Panel:
        """`size` of the tasks, drawn with `seed` from the set of ids; their order is drawn too.

        Raises:
            PanelError: the panel has fewer tasks.
        """
        if not 1 <= size <= len(self.task_ids):
            raise PanelError(f"panel subset: size is {size}; the panel has {len(self.task_ids)} tasks")
        drawn = random.Random(f"panel:{seed}").sample(sorted(self.task_ids), size)
        return Panel(self.environment, tuple(drawn), self.env_kwargs, self.split)

    def write(self, path: Path | str) -> None:
        """Write the panel as JSON."""
        fields = {"version": PANEL_VERSION, **asdict(self), "task_ids": list(self.task_ids)}
        text = json.dumps(fields, indent=1, ensure_ascii=False)
        _check_writable(text, f"panel of {self.environment!r}: a text of env_kwargs={dict(self.env_kwargs)!r}")
        write_text_atomically(Path(path), text + "\n")

    @classmethod
    def read(cls, path: Path | str) -> Panel:
        """Read a panel from its JSON file, or from its parquet file, beside which the JSON file may lie.

        The parquet file does not hold the settings of the environment; they come from the JSON file beside it.

        Raises:
            PanelError: missing, malformed, another version, or JSON and parquet file name different tasks.
        """
        path = Path(path)
        if path.suffix == ".json":
            return cls._read_json(path)
        panel, beside = read_dataset(path), path.with_suffix(".json")
        if not beside.is_file():
            return panel
        described = cls._read_json(beside)
        if described.task_ids != panel.task_ids or described.environment != panel.environment:
            raise PanelError(f"{path} and {beside} name different tasks; write them again with `siri-verl data panel`")
        return described

    @classmethod
    def _read_json(cls, path: Path) -> Panel:
        _check_exists(path, str(path))
        try:
            fields = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise PanelError(f"{path}: not JSON ({error})") from error
        if not isinstance(fields, dict) or fields.get("version") != PANEL_VERSION:
            version = fields.get("version") if isinstance(fields, dict) else None
            raise PanelError(f"{path}: version is {version!r}; this siri_verl reads version {PANEL_VERSION}")
        types: dict[str, type] = {"environment": str, "env_kwargs": dict, "split": str, "task_ids": list}
        for name, kind in types.items():
            if not isinstance(fields.get(name), kind):
                raise PanelError(f"{path}: field {name!r} is {fields.get(name)!r}; expected a {kind.__name__}")
        try:
            return cls(fields["environment"], tuple(fields["task_ids"]), fields["env_kwargs"], fields["split"])
        except PanelError as error:
            raise PanelError(f"{path}: {error}") from error


def make_panel(
    environment: str,
    env_kwargs: Mapping[str, Any],
    split: str | None,
    size: int | None = None,
    seed: int = 0,
    *,
    solvable: bool = False,
) -> Panel:
    """The tasks of a split, or a seeded subset of them.

    Args:
        environment: registered name or gymnasium id.
        env_kwargs: settings of the environment, without `split`.
        split: the environment's name for it; None for all tasks.
        size: how many tasks; None keeps all, in the split's order.
        seed: draws the subset.
        solvable: leave out the tasks that the environment knows nobody to solve.

    Raises:
        TypeError: `solvable` is set and the environment does not know.
        UnknownEnvironmentError, UnknownSplitError: the message lists the known ones.
        PanelError: fewer tasks than `size`.
    """
    from siri_verl.envs.registry import list_task_ids, list_unsolvable

    chosen = {} if split is None else {"split": split}
    task_ids = list_task_ids(environment, **env_kwargs, **chosen)
    if solvable:
        unsolvable = list_unsolvable(environment, **env_kwargs, **chosen)
        task_ids = [task_id for task_id in task_ids if task_id not in unsolvable]
    panel = Panel(environment, tuple(task_ids), dict(env_kwargs), split or "all")
    return panel if size is None else panel.subset(size, seed)


def check_disjoint(train: Panel, validation: Panel) -> None:
    """Raise PanelError naming the tasks that are in both panels of one environment."""
    if train.environment != validation.environment:
        return
    both = sorted(set(train.task_ids) & set(validation.task_ids))
    if both:
        raise PanelError(
            f"{len(both)} task(s) are in the training panel ({train.split!r}) and in the validation panel "
            f"({validation.split!r}): {_name(both)}; a model must not be measured on what it trained on"
        )


def dataset_rows(panel: Panel) -> list[dict[str, Any]]:
    """The panel's tasks as rows for verl's RLHFDataset (verl/utils/dataset/rl_dataset.py)."""
    return [
        {
            "prompt": [{"role": "user", "content": task_id}],
            "data_source": panel.environment,
            "environment": panel.environment,
            "task_id": task_id,
            "split": panel.split,
            "agent_name": AGENT_NAME,
            # verl's reward managers want the column; the reward comes from the environment
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": index, "task_id": task_id, "split": panel.split},
        }
        for index, task_id in enumerate(panel.task_ids)
    ]


def write_dataset(panel: Panel, path: Path | str) -> Path:
    """Write a panel as the parquet file that `data.train_files` or `data.val_files` names. Returns its path."""
    import pyarrow
    import pyarrow.parquet

    path = Path(path)
    if path.suffix != ".parquet":
        raise PanelError(f"{path}: verl reads panels from files whose name ends in .parquet")
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(dataset_rows(panel)), content)
    write_bytes_atomically(path, content.getvalue())
    return path


def write_panel(panel: Panel, path: Path | str, *, overwrite: bool = False) -> None:
    """Write a panel as parquet and beside it as JSON. Files that hold this panel already are written again.

    Raises:
        FileExistsError: one of the two holds something else, and `overwrite` is not set.
        PanelError: see `write_dataset`.
    """
    path = Path(path)
    if not overwrite:
        check_place(panel, path)
    write_dataset(panel, path)
    panel.write(path.with_suffix(".json"))


def check_place(panel: Panel, path: Path) -> None:
    """Raise FileExistsError where `path`, or the JSON file beside it, holds anything but this panel."""
    beside = path.with_suffix(".json")
    if not (_holds(beside, panel) and _holds(path, replace(panel, env_kwargs={}))):
        check_no_file(*(file for file in (path, beside) if file.exists()))


def _holds(path: Path, panel: Panel) -> bool:
    """Whether the file is missing or holds the panel."""
    if not path.exists():
        return True
    try:
        return (Panel.read(path) if path.suffix == ".json" else read_dataset(path)) == panel
    except PanelError:
        return False


def read_dataset(path: Path, where: str | None = None) -> Panel:
    """Read a panel from its parquet file alone, without the settings of the environment.

    Args:
        path: the file.
        where: what messages call it; None: its path.

    Raises:
        PanelError: missing or unreadable, a column is missing, a row names no task, a task occurs twice, or the tasks
            are of several environments.
    """
    where = where or str(path)
    _check_exists(path, where)
    try:
        _, rows = read_rows(path, COLUMNS)
        _check_rows(rows)
        return Panel(
            rows[0]["environment"],
            tuple(row["task_id"] for row in rows),
            split=", ".join(sorted({row["split"] for row in rows})),
        )
    except (PanelError, ParquetError) as error:
        raise PanelError(f"{where}: {error}; write panels with `siri-verl data panel`") from error


def _check_writable(text: str, what: str) -> None:
    """Raise PanelError for a text that would be another one in a file: a task of another name, say."""
    if without_surrogates(text) != text:
        raise PanelError(f"{what} has half of a surrogate pair, which no file can hold")


def _check_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """There are rows, each names a task, and all are of one environment."""
    if not rows:
        raise PanelError("has no rows")
    for number, row in enumerate(rows):
        for name in COLUMNS:
            if not isinstance(row[name], str) or not (row[name] or name == "split"):
                raise PanelError(f"row {number} has {name}={row[name]!r}; expected a non-empty text")
    names = sorted({row["environment"] for row in rows})
    if len(names) > 1:
        raise PanelError(f"holds tasks of {len(names)} environments ({', '.join(names)}), expected one")


def _check_exists(path: Path, where: str) -> None:
    if not path.is_file():
        raise PanelError(f"{where}: no such panel file; `siri-verl data panel` writes one")


def _repeated(task_ids: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({task for task in task_ids if task in seen or seen.add(task)})


def _name(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(task) for task in ids[:5])
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"
