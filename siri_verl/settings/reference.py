# SPDX-License-Identifier: Apache-2.0
"""docs/configuration.md, made from the typed settings: name, type, default and the string under the field.

`siri-verl docs` writes it; a test fails when it is stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.settings.schema import SiriSettings
from siri_verl.settings.texts import field_texts

CONF = Path(__file__).parents[1] / "conf" / "siri"

HEAD = """# Configuration

<!-- Made by `siri-verl docs` from the typed settings; edit the fields' texts in siri_verl, not this file. -->

Settings of siri_verl live in two blocks of verl's configuration: `siri:` and `algorithm.gigpo`. Everything else is
[verl's own](https://verl.readthedocs.io/en/latest/examples/config.html). Give a setting on the command line by its full
name, `siri.arms.skill_share=0.25`. An unknown name, a wrong type or a value out of range is refused before anything
starts, with the field, the value and what to do.
"""


@dataclass(frozen=True)
class Setting:
    """One row of the reference."""

    name: str
    kind: str
    default: str
    text: str


@dataclass(frozen=True)
class Block:
    """One table: full name, what the block is, its settings, and the file that defines it."""

    name: str
    text: str
    source: str
    settings: list[Setting]


def in_yaml(value: Any) -> str:
    """A default the way it is written on the command line."""
    if isinstance(value, (tuple, set)):
        value = list(value)
    return value if isinstance(value, str) else json.dumps(value)


def blocks(name: str, schema: type) -> Iterator[Block]:
    """The block, then those inside it."""
    texts, defaults = field_texts(schema), schema()
    rows, inside = [], []
    for field in fields(schema):
        value, (kind, text) = getattr(defaults, field.name), texts[field.name]
        if is_dataclass(value):
            inside.append((f"{name}.{field.name}", type(value)))
        else:
            rows.append(Setting(field.name, kind.replace("None", "null"), in_yaml(value), text))
    source = schema.__module__.replace(".", "/") + ".py"
    yield Block(name, " ".join((schema.__doc__ or "").split()), source, rows)
    for full_name, inner in inside:
        yield from blocks(full_name, inner)


def cell(text: str) -> str:
    """Safe inside a Markdown table."""
    return text.replace("|", "\\|")


def table(block: Block) -> str:
    """A block's section."""
    lines = [f"## `{block.name}`", "", f"{block.text} ({block.source})", ""]
    if block.settings:
        lines += ["| setting | type | default | |", "|---|---|---|---|"]
        for row in block.settings:
            default = f"`{cell(row.default)}`" if row.default else ""
            lines.append(f"| `{row.name}` | {cell(row.kind)} | {default} | {cell(row.text)} |")
        lines.append("")
    return "\n".join(lines)


def groups() -> str:
    """The section on configuration groups, from the comments at the head of their files."""
    lines = [
        "## Groups: `+siri=[...]`",
        "",
        "Later ones win over earlier ones; an order in which a group would be undone is refused. siri_verl/conf/siri/",
        "",
    ]
    lines += ["| group | |", "|---|---|"]
    methods = method_groups()
    for path in sorted(CONF.glob("*.yaml")):
        if path.stem not in methods:
            lines.append(f"| `{path.stem}` | {cell(comment(path))} |")
    lines += [
        "",
        "### Methods",
        "",
        "At most one, behind the others: `+siri=[webshop,cpu,cpu_small,no_gate]`. Without one: SIRI.",
        "",
    ]
    lines += ["| group | `siri.method` | |", "|---|---|---|"]
    for group, method in methods.items():
        lines.append(f"| `{group}` | `{method}` | {cell(comment(CONF / f'{group}.yaml'))} |")
    return "\n".join([*lines, ""])


def method_groups() -> dict[str, str]:
    """Group -> the `siri.method` it sets, in alphabetical order; `base` has the default."""
    found = {path.stem: OmegaConf.select(OmegaConf.load(path), "siri.method") for path in sorted(CONF.glob("*.yaml"))}
    return {group: method for group, method in found.items() if method is not None and group != "base"}


def comment(path: Path) -> str:
    """The first comment of a group's file behind package directive and licence."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(("# @package", "# SPDX")) or (not line.startswith("#") and not lines):
            continue
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def reference() -> str:
    """The whole page."""
    listed = [*blocks("siri", SiriSettings), *blocks("algorithm.gigpo", GigpoSettings)]
    return "\n".join([HEAD, groups(), *(table(block) for block in listed)]).rstrip() + "\n"
