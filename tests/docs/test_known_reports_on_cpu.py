# SPDX-License-Identifier: Apache-2.0
"""docs/known_reports.md: every row has a report, what is done here, and a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "known_reports.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| report |"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:20])
def test_every_row_names_a_public_report_and_a_test(row):
    report, about, here, test = row
    assert about and here
    links = re.findall(r"\[([\w.-]+)#(\d+)\]\(https://github\.com/[\w.-]+/([\w.-]+)/(?:issues|pull)/(\d+)\)", report)
    assert links or report == "the same"
    assert all((name, number) == (repository, at) for name, number, repository, at in links), report
    path, _, name = test.partition("::")
    functions = {
        node.name
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert name in functions, f"{path} has no {name}"


def test_there_are_rows():
    assert len(ROWS) > 20
