# SPDX-License-Identifier: Apache-2.0
"""The notebook: what is committed shows a whole run and no place of a machine, and it runs from top to bottom."""

import json
import os
import re

import pytest
from support.example_runs import EXAMPLES

NOTEBOOK = EXAMPLES / "notebook" / "siri_in_20_steps.ipynb"


def outputs_of(notebook):
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert all(output["output_type"] != "error" for output in outputs)
    return outputs


def shows_a_whole_run(notebook):
    """Its steps, the skill that helps, and a picture."""
    outputs = outputs_of(notebook)
    shown = [output.get("text") or output["data"].get("text/markdown", "") for output in outputs]
    text = "\n".join("".join(part) for part in shown)
    assert "step 20/20 | " in text and "| active | ask the board where to go |" in text
    return sum("image/png" in output.get("data", {}) for output in outputs) == 1


def test_the_committed_notebook_shows_a_whole_run():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run from top to bottom"
    assert shows_a_whole_run(notebook)
    assert not re.search(r"(?<![\w.])/(home|root|work|tmp|Users|opt|mnt)/", text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_notebook_runs(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("INPUTS", str(tmp_path / "inputs"))
    path = [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=1700, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert shows_a_whole_run(notebook)
