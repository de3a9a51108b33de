# SPDX-License-Identifier: Apache-2.0
"""docs/skills.md, and the bank in docs/run_folder.md: version, records, fields, prompt, settings, commands."""

import re
from dataclasses import fields
from pathlib import Path

from typer.main import get_command

from siri_verl.cli import app
from siri_verl.core.rules import UtilitySettings
from siri_verl.settings.reference import CONF
from siri_verl.skills import bank_file
from siri_verl.skills.mining_prompt import FULL_MINING, render_mining_prompt

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "skills.md").read_text(encoding="utf-8")
BANK = (DOCS / "run_folder.md").read_text(encoding="utf-8").split("## `skills.jsonl`\n")[1].split("\n## ")[0]
FLAT = " ".join(TEXT.split())


def test_version_records_and_fields():
    assert f"JSON lines, version {bank_file.BANK_VERSION}:" in BANK
    rows = {m[1]: m[2] for m in re.finditer(r"^\| `(\w+)`[^|]*\|(.*)\|$", BANK, re.MULTILINE)}
    assert rows.keys() == {"bank", *bank_file._READERS}
    for record in ("skill", "evidence", "decision"):
        assert set(re.findall(r"`(\w+)`", rows[record])) == set(bank_file._TYPES[record]), record


def test_the_mining_prompt_is_the_one_in_use():
    prompt = " ".join(render_mining_prompt("T", [("seen", "act")], FULL_MINING).split())
    opening, closing = FULL_MINING.opening, " ".join(FULL_MINING.closing.split())
    assert opening in prompt
    assert opening in FLAT
    assert closing in FLAT


def test_settings_of_the_rules_exist():
    known = {field.name for field in fields(UtilitySettings)}
    part = TEXT.split("## 3.")[1].split("## 4.")[0]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", part))
    assert named & known and named <= known | {path.stem for path in CONF.glob("*.yaml")}, "settings, and presets"


def test_commands_exist():
    command = get_command(app)
    for words in re.findall(r"^siri-verl ([a-z ]+)", TEXT, re.MULTILINE):
        group = command
        for word in words.split():
            if not hasattr(group, "commands"):
                break
            assert word in group.commands, words
            group = group.commands[word]
