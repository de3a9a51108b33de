# SPDX-License-Identifier: Apache-2.0
"""`siri-verl eval` and `siri-verl export`: what a policy does on the plain prompt, and the policy as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from siri_verl.cli.common import app, console, fail, options
from siri_verl.evaluation.options import REFLEXION, EvalOptions


@app.command("eval")
@options(EvalOptions)
def evaluate(
    asked: EvalOptions,
    out: Annotated[Optional[Path], typer.Option(help="Folder; default: eval/... in the run or here.")] = None,
) -> None:
    """Measure a model on a panel of tasks: success and score with intervals, every trajectory on disk. A
    stopped evaluation resumes if rerun with the same arguments."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from siri_verl.evaluation.prepare import prepare
    from siri_verl.evaluation.run import run_evaluation
    from siri_verl.evaluation.summary_table import summary_lines, summary_table
    from siri_verl.outputs import check_no_file
    from siri_verl.runs.folder import EvaluationFolder

    try:
        if out is not None and not EvaluationFolder(out).trajectories.exists():
            check_no_file(EvaluationFolder(out).summary, overwrite=None)
        prepared = prepare(asked)
        folder = out or prepared.default_folder()
        files = EvaluationFolder(folder)
        solved = TextColumn("{task.fields[solved]} solved")
        with Progress(
            TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), solved, TimeElapsedColumn(), console=console
        ) as bar:
            # The number of trials that Reflexion needs is not known in advance.
            total = prepared.samples if asked.prompting != REFLEXION else None
            row, count = bar.add_task("", total=total, solved=0), [0]

            def begin(done: int) -> None:
                bar.update(row, completed=done)
                if done:
                    console.print(f"{folder}: resumes after {done} finished episodes")

            def end(trajectory: Any) -> None:
                count[0] += trajectory.success
                bar.update(row, advance=1, solved=count[0])

            summary = run_evaluation(prepared, folder, end, begin)
    except (ValueError, OSError, RuntimeError, TypeError, KeyError) as error:
        raise fail(error) from error
    console.print(summary_table(summary))
    for line in summary_lines(summary):
        console.print(line, highlight=False)
    console.print(f"written: {files.summary}, {files.trajectories}", soft_wrap=True)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(help="Run, checkpoint, or Hugging Face folder.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    step: Annotated[Optional[int], typer.Option(help="Checkpoint of a run; default: the newest.")] = None,
    dtype: Annotated[Optional[str], typer.Option(help="Precision of the weights; default: unchanged.")] = None,
) -> None:
    """Write the plain policy as a Hugging Face folder: weights, configuration, tokenizer. No skills are needed beside
    it."""
    from siri_verl.evaluation.export import export_policy

    try:
        exported = export_policy(source, out, step=step, dtype=dtype)
    except (ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    console.print(exported.describe(), soft_wrap=True)
