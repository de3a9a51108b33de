# SPDX-License-Identifier: Apache-2.0
"""What a reader must know before comparing the runs of a report."""

from __future__ import annotations

from collections.abc import Sequence

from siri_verl.report.curve import SUCCESS
from siri_verl.report.reader import Run


def notes(runs: Sequence[Run]) -> list[str]:
    """One line each; none where runs can be compared as they are."""
    found = []
    bare = [run.name for run in runs if not run.config]
    if bare and len(runs) > 1:
        found.append(f"{_names(bare)}: no config.yaml, so settings are not compared.")
    shown = [run.name for run in runs if run.shows_skills_in_validation]
    if shown:
        found.append(f"{_names(shown)}: validation shows skills (siri.control.skills_in_prompt), not the plain prompt.")
    blind = [run.name for run in runs if not run.curve]
    if blind:
        found.append(f"{_names(blind)}: no validation with success, so no learning curve.")
    plain = [f"{run.name} (val-core .../{run.measure})" for run in runs if run.curve and run.measure != SUCCESS]
    if plain:
        found.append(
            f"{_names(plain)}: metrics of verl without siri fields. Validations have no interval, since verl does not "
            "log their number of episodes; environment steps are not counted."
        )
    expected = {run.name: int(run.config.get("trainer.total_training_steps") or 0) for run in runs}
    short = [f"{run.name} ({run.steps} of {expected[run.name]})" for run in runs if run.steps < expected[run.name]]
    if short:
        found.append(f"Not finished: {_names(short)}. Curves and areas cover what there is.")
    worlds = sorted({str(run.config["siri.environment.name"]) for run in runs if "siri.environment.name" in run.config})
    if len(worlds) > 1:
        found.append(f"Environments differ ({_names(worlds)}): success and steps cannot be compared across them.")
    episodes = {point.episodes for run in runs for point in run.curve if point.episodes}
    if len(episodes) > 1:
        found.append(f"Validations differ in size: {min(episodes)} to {max(episodes)} episodes.")
    return found


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
