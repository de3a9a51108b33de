# SPDX-License-Identifier: Apache-2.0
"""The end of a run in at most 15 lines: success, what the skills were worth, what is left without them, files."""

from __future__ import annotations

from siri_verl.report.build import PAGE
from siri_verl.report.curve import SUCCESS
from siri_verl.report.reader import CurvePoint, Run
from siri_verl.report.retests import Retest, read_retests
from siri_verl.runs.folder import RunFolder
from siri_verl.screen import duration

MOST_LINES = 15


def summary_lines(run: Run) -> list[str]:
    """The lines. Success is measured on the plain prompt unless the run is the control that shows skills there.

    Raises:
        ValueError: a re-test in the folder is damaged; names the file.
    """
    folder = RunFolder(run.folder)
    method = run.config.get("siri.method")
    about = ", ".join(
        f"{name} {value}" for name, value in (("method", method), ("seed", run.seed)) if value is not None
    )
    lines = [f"run {run.name}" + (f" ({about})" if about else ""), f"  {_extent(run)}", *_success(run), *_skills(run)]
    retests = {retest.file: retest for retest in read_retests(run.folder)}
    start = retests.pop(folder.retest("start").name, None)
    if start is not None:
        lines.append(f"  worth of the skills at the start: {_effect(start)}")
    if retests:
        lines.append(f"  left of it in the trained policy: {_effect(list(retests.values())[-1])}")
    lines.append(f"files in {run.folder}: {', '.join(_files(folder))}")
    page = folder.report / PAGE
    if page.is_file():
        lines.append(f"open this page: {page}")
    return lines


def _extent(run: Run) -> str:
    seconds = sum(run.series(name).values.sum() for name in ("timing_s/step", "timing_s/testing"))
    parts = [f"{run.steps} steps"]
    if run.env_steps is not None:
        parts.append(f"{run.env_steps:,} environment steps")
    return ", ".join(parts) + (f", {duration(seconds)} of training and validation" if seconds else "")


def _success(run: Run) -> list[str]:
    if not run.curve:
        return ["  success: the run was never validated"]
    ends = [run.curve[0], run.curve[-1]][-len(run.curve) :]
    if run.measure != SUCCESS:  # verl's own metric, without a number of episodes
        return [f"  {run.measure} at step {point.step}: {point.success:.3f}" for point in ends]
    prompt = "with skills in the prompt" if run.shows_skills_in_validation else "plain prompt"
    return [f"  success at step {_point(point)}, {prompt}" for point in ends]


def _point(point: CurvePoint) -> str:
    interval = f"95 % interval {point.low:.3f} to {point.high:.3f}"
    return f"{point.step}: {point.success:.3f} ({interval}), {point.episodes} episodes"


def _skills(run: Run) -> list[str]:
    if not len(run.bank):
        return []
    counts = run.bank_counts
    text = f"  skills: {counts['mined']} mined, {counts['promoted']} promoted, {counts['active']} active at the end"
    return [text + (f", {counts['internalized']} internalized" if counts["internalized"] else "")]


def _effect(retest: Retest) -> str:
    """Success without and with the skills; the interval is that of the difference."""
    o = retest.overall
    if not o["pairs"]:
        return "no pair of episodes counts"
    return (
        f"{o['plain']:.3f} without, {o['skill']:.3f} with a skill; difference {o['effect']:+.3f} "
        f"({retest.level:.0%} interval {o['low']:+.3f} to {o['high']:+.3f}), {o['pairs']} pairs"
    )


def _files(folder: RunFolder) -> list[str]:
    named = (folder.metrics, folder.bank, folder.trajectories, folder.story, folder.learning_curve, folder.log)
    found = [path.name + "/" * path.is_dir() for path in named if path.exists()]
    newest = folder.newest_checkpoint()
    return found + ([f"{newest.path.name}/"] if newest is not None else [])
