# SPDX-License-Identifier: Apache-2.0
"""docs/run_folder.md lists the fields of an evaluation's files, docs/evaluation.md the protocol and the options."""

import re
from pathlib import Path
from typing import get_args, get_type_hints

from support.evaluation_records import records
from typer.main import get_command

from siri_verl.cli import app
from siri_verl.envs.replies import REFERENCE, ActionRules, parse_reply
from siri_verl.evaluation import summary
from siri_verl.evaluation.options import KINDS, EvalOptions
from siri_verl.evaluation.protocol import protocol
from siri_verl.runs.folder import EvaluationFolder
from siri_verl.trajectory import file
from siri_verl.trajectory.turn import Reflection, Status, Trajectory, Turn

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "evaluation.md").read_text(encoding="utf-8")
FILES = (DOCS / "run_folder.md").read_text(encoding="utf-8")
SUMMARY_PART = FILES.split("## `summary.json`\n")[1]
EVALUATION, REPORT = TEXT.split("## The report\n")
NAMES = {str: "text", int: "number", float: "number", bool: "truth value", list: "list"}


def table(first_cell, text=FILES):
    """Rows of the table whose header starts with a cell: first column (without backticks) -> the others."""
    rows = text.split(f"| {first_cell} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_every_field_of_the_trajectories_stands_there_with_its_type():
    for heading, schema in (("`trajectory`", Trajectory), ("`reflection`", Reflection), ("turn", Turn)):
        described, fields = table(heading), get_type_hints(schema)
        assert described.keys() == fields.keys(), heading
        for name, hint in fields.items():
            kind, *rest = (list,) if name == "turns" else get_args(hint) or (hint,)
            assert described[name][0] == NAMES[kind] + (" or null" if rest else ""), name
    assert f"Schema `{file.SCHEMA}`, version {file.VERSION}." in FILES
    assert f"Schema `{summary.SCHEMA}`, version {summary.VERSION}." in FILES


def test_every_field_of_the_summary_stands_there():
    listed = {name for cell in table("field", SUMMARY_PART) for name in re.findall(r"\w+", cell)}
    written = set(summary.summarize(records(), max_response_length=16))
    written |= {"schema", "version", "settings", "level", "against", "about", "failed_tasks"}
    assert listed == written
    parts = summary.summarize(records(), max_response_length=16)
    for name in ("success", "score", "success_by_repetition", "reply_tokens", "shares", "skills"):
        for part in parts[name]:
            assert f"`{part}`" in FILES, f"{name}.{part}"


def test_reasons_statuses_and_ways_of_prompting():
    for reply in ("go", "<action>go</action>", "<think></think><action>\u4e00</action>"):
        assert f"`{parse_reply(reply, ActionRules(**REFERENCE)).problem}`" in FILES
    assert all(f"`{status.value}`" in FILES for status in Status)
    assert list(table("`--prompting`", TEXT)) == list(KINDS)
    files = EvaluationFolder(Path())
    assert all(path.name in FILES for path in (files.trajectories, files.summary))


def test_the_protocol_without_a_run():
    how = protocol(EvalOptions(model="m"), None)
    assert (how.prompt.template, how.prompt.history_length) == ("full", 2)
    words = f"{how.max_prompt_length} / {how.max_response_length} tokens, {how.max_turns} turns, temperature "
    assert words + str(how.sampling.temperature) in " ".join(TEXT.split())


def test_commands_and_their_options_exist():
    commands = get_command(app).commands
    for name, part in (("eval", EVALUATION), ("report", REPORT)):
        known = {option for parameter in commands[name].params for option in parameter.opts} | {"--out"}
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", part)) <= known
    for name in re.findall(r"^siri-verl (\w+)", TEXT, re.MULTILINE):
        assert name in commands
