# SPDX-License-Identifier: Apache-2.0
"""`siri-verl skills`: shows a skill bank and tests its skills again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from siri_verl.cli.common import Json, app, console, fail, options
from siri_verl.evaluation.options import RetestOptions
from siri_verl.terminal import labelled

if TYPE_CHECKING:
    from siri_verl.skills.bank import SkillBank

skills = typer.Typer(help="Show a skill bank; test its skills again.", no_args_is_help=True)
app.add_typer(skills, name="skills")


def open_bank(path: Path) -> SkillBank:
    """A bank from its file, or from the run or checkpoint folder that holds it."""
    from siri_verl.skills.bank_file import ANY_LENGTH, BankFileError, load_bank

    try:
        return load_bank(path, ANY_LENGTH)
    except (BankFileError, OSError) as error:
        raise fail(error) from error


@skills.command("list")
def skills_list(
    path: Annotated[Path, typer.Argument(help="Bank file, or a run's or checkpoint's folder.")],
    status: Annotated[Optional[str], typer.Option(help="candidate, active, retired or internalized.")] = None,
    task_type: Annotated[Optional[str], typer.Option(help="Only this task type.")] = None,
    as_json: Json = False,
) -> None:
    """List all skills with status, utility and evidence."""
    from siri_verl.report.tables import skill_list, skill_list_json

    bank = open_bank(path)
    try:
        if as_json:
            typer.echo(skill_list_json(bank, status, task_type))
        else:
            console.print(skill_list(bank, status, task_type))
    except ValueError as error:
        raise fail(error) from error


@skills.command("show")
def skills_show(path: Path, skill_id: str) -> None:
    """Show one skill: text, provenance, numbers."""
    from siri_verl.report.tables import skill_show

    try:
        console.print(skill_show(open_bank(path), skill_id))
    except KeyError as error:
        raise fail(error.args[0]) from error


@skills.command("history")
def skills_history(path: Path, skill_id: str) -> None:
    """Show every group of a skill, and every decision with its reason."""
    from siri_verl.report.tables import skill_history

    try:
        console.print(skill_history(open_bank(path), skill_id))
    except KeyError as error:
        raise fail(error.args[0]) from error


@skills.command("diff")
def skills_diff(before: Path, after: Path) -> None:
    """Show what changed between two banks."""
    from siri_verl.report.tables import skill_diff

    console.print(skill_diff(open_bank(before), open_bank(after)))


@skills.command("retest")
@options(RetestOptions)
def skills_retest(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    asked: RetestOptions,
    out: Annotated[Optional[Path], typer.Option(help="JSON file; default: retest_<model>.json in the run.")] = None,
) -> None:
    """Test skills again after a run, on fresh tasks: pairs of episodes without and with the skill, with the same task
    and seed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from siri_verl.evaluation.retest_run import retest_run
    from siri_verl.files import write_text_atomically
    from siri_verl.report.retests import report_json, retest_table
    from siri_verl.runs.folder import RunFolder
    from siri_verl.screen import show_progress

    columns = TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            row, total, done = bar.add_task("", total=None), [0], [0]

            def begin(episodes: int) -> None:
                total[0] = episodes
                bar.update(row, total=episodes)

            def end(episode: object) -> None:
                done[0] += 1
                bar.update(row, completed=done[0])
                if done[0] % max(1, total[0] // 50) == 0:
                    show_progress(done[0], total[0])

            report, about = retest_run(run, asked, end, begin)
    except (ValueError, OSError, RuntimeError) as error:
        raise fail(error) from error
    if not report.skills:
        console.print(f"{about['bank']}: no active skill, nothing to test again (siri-verl skills list)")
    else:
        console.print(retest_table(report))
    for skill_id, reason in report.untested.items():
        console.print(labelled("not tested", "yellow", f"{skill_id}: {reason}"), soft_wrap=True)
    for task_id, reason in about.get("failed_tasks", {}).items():
        console.print(labelled("cannot be played", "yellow", f"{task_id}: {reason}"), soft_wrap=True)
    target = out or RunFolder(run).retest(about["model"]["name"] if "model" in about else "nothing")
    write_text_atomically(target, report_json(report, about))
    console.print(f"{target}: {about.get('model', 'no model was needed')}, {about['sampling']}, seed {about['seed']}")
