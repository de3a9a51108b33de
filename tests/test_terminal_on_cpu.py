# SPDX-License-Identifier: Apache-2.0
"""Texts of models, environments and catalogues do not steer a terminal."""

import io
import re

import pytest
from hypothesis import given, settings
from rich.table import Table
from rich.text import Text
from support.hostile import JOINED, texts
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.cli.common import fail
from siri_verl.core.decisions import Decision
from siri_verl.screen import show, visible
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.bank_file import save_bank
from siri_verl.skills.skill import Provenance
from siri_verl.stage.display import Display
from siri_verl.terminal import Terminal, labelled
from siri_verl.training.console import print_decisions

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal could obey; rich's own colours are off here."""


def printed(*parts):
    out = io.StringIO()
    console = Terminal(file=out, width=200, color_system=None)
    for part in parts:
        console.print(part)
    return out.getvalue()


@settings(max_examples=40)
@given(texts())
def test_nothing_that_a_terminal_obeys_is_printed(text):
    text = text.encode("utf-8", "replace").decode()
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text(text))
    assert not OBEYED.search(printed(text, Text(text), table, labelled("note", "red", text)))
    assert not OBEYED.search(visible(text))


def test_markup_and_emoji_codes_are_text():
    assert printed("[red]x[/red] [/] :bomb: [link=a]b[/link]").strip() == "[red]x[/red] [/] :bomb: [link=a]b[/link]"


def test_colours_of_our_own_stay():
    out = io.StringIO()
    Terminal(file=out, force_terminal=True, color_system="standard").print(labelled("error", "red", "a\x1b[32mb"))
    assert out.getvalue() == "\x1b[31merror\x1b[0m a[32mb\n"


def test_lines_of_a_run(capsys):
    bank = SkillBank()
    bank.add("kitchen", "open it", "type\x1b[31m\u202e", Provenance("t", "1/t/0", 1))
    decision = Decision(**{**_decision(), "reason": "because\x1b]0;x\x07"})
    print_decisions([decision], 1, bank)
    show("a\x1b[2Jb\x9b31m\r")
    assert not OBEYED.search(capsys.readouterr().out.replace("\n", ""))


def _decision():
    return dict(
        skill_id="s0001", step=1, before="candidate", after="active", rule="ema", reason="", groups=1, mean=0.5,
        low=0.0, high=1.0, utility=0.5, e_value=None, e_threshold=None,
    )  # fmt: skip


def test_an_error_message(capsys):
    fail(ValueError(f"task {JOINED}".encode("utf-8", "replace").decode()))
    assert not OBEYED.search(capsys.readouterr().err.replace("\n", ""))


@pytest.mark.parametrize("command", [["list"], ["show", "s0001"], ["history", "s0001"], ["list", "--json"]])
def test_commands_over_a_bank(tmp_path, command):
    bank = SkillBank()
    source = Provenance("task\x1b[31m[/x]", "1/t/0\x9b", 1, "model [red]\u202e")
    bank.add("kitchen [/red]", "open :bomb: it", "type\x1b[31m[/b]", source)
    save_bank(bank, tmp_path / "skills.jsonl")
    done = CliRunner().invoke(app, ["skills", command[0], str(tmp_path / "skills.jsonl"), *command[1:]])
    assert done.exit_code == 0, done.output
    assert not OBEYED.search(done.output) and "[/red]" in done.output and ":bomb:" in done.output


def test_a_stage_shows_marked_lines_without_controls():
    out = io.StringIO()
    with Display("training", Terminal(file=out, width=200)) as display:
        display.line("[siri] skill s1 active | \x07\x9b31m\u202e [/b]")
    assert not OBEYED.search(out.getvalue()) and "[/b]" in out.getvalue()
