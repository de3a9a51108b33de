# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Every source file begins with the licence header, in the comments of its language."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMENTED = {
    ".py": "# ",
    ".sh": "# ",
    ".yaml": "# ",
    ".yml": "# ",
    ".toml": "# ",
    ".css": " * ",
    ".js": " * ",
    ".j2": "  ",
}
"""Suffix -> what begins a line of the header."""
OTHERS = {".ci/run": "# ", "constraints-cpu.txt": "# "}
MAY_COME_FIRST = ("#!", "# @package", "/*", "{#")


def sources():
    """Every tracked source file -> what begins its lines of the header. Without git: those in the project's folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = listed.stdout.splitlines()
    else:
        folders = ("siri_verl", "hydra_plugins", "recipes", "examples", "benchmarks", "tests", "docs")
        names = [str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*")]
    marks = {name: OTHERS.get(name) or COMMENTED.get(Path(name).suffix) for name in names}
    return {name: mark for name, mark in marks.items() if mark and (ROOT / name).is_file()}


def header(mark):
    """The header of this very file, with other comment marks."""
    lines = Path(__file__).read_text(encoding="utf-8").split('"""', 1)[0].splitlines()
    return [(mark + line.removeprefix("#").removeprefix(" ")).rstrip() for line in lines]


def has_header(text, mark):
    lines = text.splitlines()
    if lines and lines[0].startswith(MAY_COME_FIRST):
        lines = lines[1:]
    expected = header(mark)
    return lines[: len(expected)] == expected


def test_every_source_file_has_the_licence_header():
    found = sources()
    assert {"recipes/siri_webshop.sh", "siri_verl/conf/siri/cpu.yaml", "siri_verl/core/gigpo.py"} <= found.keys()
    lacking = [n for n, mark in found.items() if not has_header((ROOT / n).read_text(encoding="utf-8"), mark)]
    assert not lacking, f"without the licence header: {lacking}"


@pytest.mark.parametrize("mark, first", [("# ", "#!/usr/bin/env bash\n"), ("# ", ""), (" * ", "/*\n"), ("  ", "{#\n")])
def test_a_header_that_is_cut_or_comes_late_is_seen(mark, first):
    lines = header(mark)
    assert len(lines) == 13 and "Apache License" in lines[2]
    assert has_header(first + "\n".join([*lines, "rest"]), mark)
    assert not has_header(first + "\n".join(lines[:-1]), mark)
    assert not has_header(first + "\n\n" + "\n".join(lines), mark)
