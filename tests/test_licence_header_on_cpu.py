# SPDX-License-Identifier: Apache-2.0
"""Every source file states the licence in its first line, or right after a shebang or Hydra's package line."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".sh", ".yaml", ".yml", ".toml", ".css", ".js", ".j2"}
OTHERS = {".ci/run", "constraints-cpu.txt"}
IDENTIFIER = "SPDX-License-Identifier: Apache-2.0"
MAY_COME_FIRST = ("#!", "# @package")


def sources():
    """Every tracked source file. Without git: those in the project's folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:
        folders = ("siri_verl", "hydra_plugins", "recipes", "examples", "benchmarks", "tests", "docs")
        names = [str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*")]
    chosen = [name for name in names if name in OTHERS or Path(name).suffix in SUFFIXES]
    return [name for name in chosen if (ROOT / name).is_file()]


def has_identifier(text):
    lines = text.splitlines()
    if lines and lines[0].startswith(MAY_COME_FIRST):
        lines = lines[1:]
    return bool(lines) and lines[0].strip("#/*{} ") == IDENTIFIER


def test_every_source_file_states_the_licence():
    found = sources()
    assert {"recipes/siri_webshop.sh", "siri_verl/conf/siri/cpu.yaml", "siri_verl/core/gigpo.py"} <= set(found)
    lacking = [name for name in found if not has_identifier((ROOT / name).read_text(encoding="utf-8"))]
    assert not lacking, f"without {IDENTIFIER!r}: {lacking}"


@pytest.mark.parametrize("first", ["# {}", "#!/bin/bash\n# {}", "# @package _global_\n# {}", "/* {} */", "{{# {} #}}"])
def test_a_missing_or_late_identifier_is_found(first):
    assert has_identifier(first.format(IDENTIFIER) + "\nrest")
    assert not has_identifier(first.format("Copyright") + "\nrest")
    assert not has_identifier("\n" + first.format(IDENTIFIER))
    assert not has_identifier("")
