# SPDX-License-Identifier: Apache-2.0
"""What an interrupted run leaves on disk and how it goes on, in two lines."""

from __future__ import annotations

from pathlib import Path

from siri_verl.runs.folder import RunFolder
from siri_verl.runs.metrics import read_metrics


def stop_lines(run: Path | None, rerun: str) -> list[str]:
    """The two lines.

    Args:
        run: the run's folder; None: no run has begun.
        rerun: the command line that resumes the run.
    """
    if run is None:
        return ["stopped; what the finished stages have written stays", f"go on with: {rerun}"]
    folder = RunFolder(run)
    done = f"stopped after step {_last_step(folder)}" if _last_step(folder) else "stopped before the first step's end"
    newest = folder.newest_checkpoint()
    if newest is None:
        return [f"{done}; there is no checkpoint yet, a rerun begins with step 1", f"start again with: {rerun}"]
    return [f"{done}; the newest checkpoint is that of step {newest.step}: {newest.path}", f"resume with: {rerun}"]


def _last_step(folder: RunFolder) -> int | None:
    if not folder.metrics.is_file():
        return None
    return max((record["step"] for record in read_metrics(folder.metrics) if record["kind"] == "train"), default=None)
