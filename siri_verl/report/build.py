# SPDX-License-Identifier: Apache-2.0
"""The report: read runs, put them into methods, draw, and write one page and the pictures beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from siri_verl.core.phases import WARM_UP
from siri_verl.files import write_text_atomically
from siri_verl.report.browser import Browser, collect
from siri_verl.report.curve_pictures import curve_pictures, kind_pictures
from siri_verl.report.evaluations import EvaluationRow, read_evaluations
from siri_verl.report.methods import Method, differences, group_runs
from siri_verl.report.notes import notes
from siri_verl.report.options import ReportOptions
from siri_verl.report.page import render
from siri_verl.report.pictures import Album, Picture, look_of
from siri_verl.report.prompts import ArmPrompts, read_prompts
from siri_verl.report.run_pictures import RunPictures, Stage, run_pictures, stages
from siri_verl.report.runs import Run, read_runs
from siri_verl.report.skills import Lives, Mined, Retest, mined, read_retests, skill_lives
from siri_verl.report.statistics import (
    Difference,
    Estimate,
    common_budget,
    final_score,
    final_success,
    method_area,
    over_runs,
    paired_differences,
)

PAGE, PICTURES = "report.html", "pictures"
MOST_DETAILED = 6


@dataclass(frozen=True)
class MethodRow:
    """A line of the table at the top.

    Attributes:
        method: the method.
        color: of its curves.
        success: at the last validation.
        start: mean success at the first.
        area: under the curve over the steps that all runs cover.
        score: native score at the last validation.
        env_steps: mean over its runs.
        env_steps_ends: the smallest and the largest, where they differ.
        bank: mean counts over its runs; None where no run mined.
    """

    method: Method
    color: str
    success: Estimate | None
    start: float | None
    area: Estimate | None
    score: Estimate | None
    env_steps: float | None
    env_steps_ends: tuple[int, int] | None
    bank: dict[str, float] | None


@dataclass(frozen=True)
class RunPart:
    """A run's own part of the page."""

    run: Run
    method: str
    pictures: RunPictures
    lives: Lives
    mined: Mined | None
    retests: list[Retest]
    evaluations: list[EvaluationRow]
    stages: list[Stage]
    prompts: list[ArmPrompts]
    all_prompts: int

    @property
    def only_warm_up(self) -> bool:
        """No skill was ever in play: gigpo, grpo, or a run that has not left warm-up."""
        return all(span.phase == WARM_UP for span in self.run.story.spans)


@dataclass
class Report:
    """Everything the page shows."""

    title: str
    methods: list[Method]
    rows: list[MethodRow]
    budget: tuple[float, float] | None
    paired: list[Difference]
    differing: dict[str, list[str]]
    curves: list[Picture]
    kinds: list[Picture]
    parts: list[RunPart]
    left_out: list[str]
    browser: Browser
    notes: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """All of them, by method and seed."""
        return [run for method in self.methods for run in method.runs]


def write_report(
    folders: Sequence[Path],
    out: Path,
    options: ReportOptions | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write `report.html` and `pictures/` into a folder.

    Args:
        folders: of the runs.
        out: the folder; made if it is not there.
        options: see ReportOptions.
        tell: is given a line for each run that is being drawn.

    Returns:
        The page.

    Raises:
        FileNotFoundError: a run or a file is not there.
        ValueError: an argument is wrong or a file is damaged; the message names it and what to do.
    """
    report = make_report(folders, out, options or ReportOptions(), tell)
    write_text_atomically(out / PAGE, render(report))
    return out / PAGE


def make_report(folders: Sequence[Path], out: Path, options: ReportOptions, tell: Callable[[str], None]) -> Report:
    """Everything but the page itself; the PNG files are written. For arguments and errors see `write_report`."""
    methods = group_runs(read_runs(folders), options.labels, options.group_by)
    runs = [run for method in methods for run in method.runs]
    detailed = _detailed(methods, options.details)
    browser = collect(runs, options.trajectories, options.most_trajectories)
    album, budget = Album(out / PICTURES), common_budget(methods)
    parts = []
    for method in methods:
        for run in method.runs:
            if run in detailed:
                tell(f"drawing {run.name}")
                parts.append(_part(run, method.name, album))
    return Report(
        title=options.title or (runs[0].name if len(runs) == 1 else f"{len(runs)} runs"),
        methods=methods,
        rows=[_row(method, number, budget) for number, method in enumerate(methods)],
        budget=budget,
        paired=paired_differences(methods, budget),
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
    return RunPart(
        run=run,
        method=method,
        pictures=run_pictures(run, album),
        lives=skill_lives(run),
        mined=mined(run),
        retests=read_retests(run.folder),
        evaluations=read_evaluations(run.folder),
        stages=stages(run.story),
        prompts=prompts,
        all_prompts=count,
    )
