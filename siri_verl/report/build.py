# SPDX-License-Identifier: Apache-2.0
"""The report: read runs, group them into methods, draw, and write page, pictures, text and curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from siri_verl.files import write_text_atomically
from siri_verl.report.browser import collect
from siri_verl.report.comparisons import method_differences
from siri_verl.report.content import MethodRow, Report, RunPart
from siri_verl.report.curve_pictures import curve_pictures, draw_curve, kind_pictures
from siri_verl.report.evaluations import read_evaluations
from siri_verl.report.headline import headline, retest_sentences
from siri_verl.report.methods import Method, differences, group_runs
from siri_verl.report.notes import notes
from siri_verl.report.options import ReportOptions
from siri_verl.report.page import render
from siri_verl.report.pictures import Album, look_of
from siri_verl.report.prompts import read_prompts
from siri_verl.report.reader import Run, read_runs
from siri_verl.report.retests import read_retests
from siri_verl.report.run_pictures import run_pictures, story_pictures
from siri_verl.report.skills import by_fate, mined, skill_lives
from siri_verl.report.stages import stages
from siri_verl.report.statistics import (
    common_budget,
    final_score,
    final_success,
    method_area,
    over_runs,
)
from siri_verl.report.words import describe, with_pictures

PAGE, PICTURES, STORY, CURVE = "report.html", "pictures", "story.md", "learning_curve.png"
MOST_DETAILED = 6


def write_report(
    folders: Sequence[Path],
    out: Path,
    options: ReportOptions | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write `report.html`, `pictures/`, `story.md` (the runs shown in full, in words) and `learning_curve.png`.

    Args:
        folders: of the runs; a run of plain verl is the file of verl's file logger.
        out: the folder; made if it is not there.
        options: see ReportOptions.
        progress: is called with a line for each run that is being drawn.

    Returns:
        The page.

    Raises:
        FileNotFoundError: a run or a file is not there.
        ValueError: an argument is wrong or a file is damaged; the message names it and what to do.
    """
    report = make_report(folders, out, options or ReportOptions(), progress)
    write_text_atomically(out / STORY, "\n".join(describe(part.run) for part in report.parts))
    with_curve = [run for run in report.runs if run.curve]
    if with_curve:
        draw_curve(with_curve, out / CURVE)
    write_text_atomically(out / PAGE, render(report))
    return out / PAGE


def write_story(run: Run, out: Path) -> list[Path]:
    """Write `story.md`, a run in words, and its pictures into a folder; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = story_pictures(run, out)
    write_text_atomically(out / STORY, with_pictures(describe(run), pictures))
    return [out / STORY, *pictures.values()]


def make_report(folders: Sequence[Path], out: Path, options: ReportOptions, progress: Callable[[str], None]) -> Report:
    """The content of the page; the PNG files are written. For arguments and errors see `write_report`."""
    methods = group_runs(read_runs(folders), options.labels, options.group_by)
    runs = [run for method in methods for run in method.runs]
    detailed = _detailed(methods, options.details)
    browser = collect(runs, options.trajectories, options.most_trajectories)
    album, budget = Album(out / PICTURES), common_budget(methods)
    compared = method_differences(methods, budget)
    parts = []
    for method in methods:
        for run in method.runs:
            if run in detailed:
                progress(f"drawing {run.name}")
                parts.append(_part(run, method.name, album))
    return Report(
        title=options.title or (runs[0].name if len(runs) == 1 else f"{len(runs)} runs"),
        headline=headline(methods, compared) + (retest_sentences(parts[0].retests) if len(runs) == 1 else []),
        methods=methods,
        rows=[_row(method, number, budget) for number, method in enumerate(methods)],
        budget=budget,
        compared=compared,
        differing=differences(methods),
        curves=curve_pictures(methods, album),
        kinds=kind_pictures(methods, album),
        parts=parts,
        left_out=[run.name for run in runs if run not in detailed],
        browser=browser,
        notes=notes(runs),
    )


def _detailed(methods: Sequence[Method], wanted: Sequence[str] | None) -> list[Run]:
    runs = [run for method in methods for run in method.runs]
    if wanted is None:
        return runs if len(runs) <= MOST_DETAILED else [method.runs[0] for method in methods]
    for pattern in wanted:
        if not any(fnmatch(run.name, pattern) for run in runs):
            names = ", ".join(run.name for run in runs)
            raise ValueError(f"--details {pattern}: matches none of the runs {names}; use a name or a pattern")
    return [run for run in runs if any(fnmatch(run.name, pattern) for pattern in wanted)]


def _row(method: Method, number: int, budget: tuple[float, float] | None) -> MethodRow:
    curves = [run.curve for run in method.runs if run.curve]
    totals = [run.env_steps for run in method.runs if run.env_steps is not None]
    banks = [run.bank_counts for run in method.runs]
    any_mined = any(bank["mined"] for bank in banks)
    return MethodRow(
        method=method,
        color=look_of(number)[0],
        success=final_success(method),
        start=over_runs([curve[0].success for curve in curves]).mean if curves else None,
        area=method_area(method, budget),
        score=final_score(method),
        env_steps=round(sum(totals) / len(totals)) if totals else None,
        env_steps_ends=(min(totals), max(totals)) if len(set(totals)) > 1 else None,
        bank={name: sum(bank[name] for bank in banks) / len(banks) for name in banks[0]} if any_mined else None,
    )


def _part(run: Run, method: str, album: Album) -> RunPart:
    prompts, count = read_prompts(run.folder)
    promoted, tested, waiting = by_fate(skill_lives(run.bank))
    return RunPart(
        run=run,
        method=method,
        pictures=run_pictures(run, album),
        promoted=promoted,
        tested=tested,
        waiting=waiting,
        mined=mined(run),
        retests=read_retests(run.folder),
        evaluations=read_evaluations(run.folder),
        stages=stages(run),
        prompts=prompts,
        all_prompts=count,
    )
