# SPDX-License-Identifier: Apache-2.0
"""The name of every file and folder of a run, its checkpoints and its evaluations. Nothing is read or written here.

Training writes to these paths (runs/writer.py, training/); evaluation, report and command line read from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from siri_verl.skills.bank_file import BANK_FILE

TRAJECTORIES = "trajectories.jsonl"
REPLAY_FILE = "internalized_rows.jsonl"
DATA_LOADER = "data.pt"
"""The last file of a checkpoint that verl writes."""
_STEP = re.compile(r"global_step_(\d+)$")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, `trainer.default_local_dir`."""

    path: Path

    @property
    def config(self) -> Path:
        """All settings, as the run started (runs/config.py)."""
        return self.path / "config.yaml"

    @property
    def record(self) -> Path:
        """Command, seed, commit, machine and versions of every start (runs/record.py)."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """Every metric of every step (runs/metrics.py)."""
        return self.path / "metrics.jsonl"

    @property
    def bank(self) -> Path:
        """The skill bank after the last step (skills/bank_file.py)."""
        return self.path / BANK_FILE

    @property
    def trajectories(self) -> Path:
        """A sample of the trajectories (trajectory/file.py)."""
        return self.path / TRAJECTORIES

    @property
    def prompts(self) -> Path:
        """Prompts of both arms, one text file per step (training/prompt_log.py)."""
        return self.path / "prompts"

    @property
    def log(self) -> Path:
        """The output of every command of a recipe (siri_verl/stage/)."""
        return self.path / "run.log"

    @property
    def plan(self) -> Path:
        """The estimate made before the start (`siri-verl plan`, recipes/lib/gpu.sh)."""
        return self.path / "plan.json"

    @property
    def validation_only(self) -> Path:
        """Config, record, metrics and trajectories of later starts with trainer.val_only=True."""
        return self.path / "val_only"

    @property
    def tracker(self) -> Path:
        """verl's file with the step of the newest checkpoint."""
        return self.path / "latest_checkpointed_iteration.txt"

    def checkpoint(self, step: int) -> CheckpointFolder:
        """verl's checkpoint of a step."""
        return CheckpointFolder(self.path / f"global_step_{step}")

    def newest_checkpoint(self) -> CheckpointFolder | None:
        """The checkpoint that verl's tracker names; None where the run has no tracker.

        verl empties its tracker before it writes the step. Where a crash or a full disk has left it empty, the
        checkpoint is the newest with a data loader's state, which verl writes before the tracker.
        """
        if not self.tracker.is_file():
            return None
        step = self.tracker.read_bytes().strip()
        if step.isdigit():
            return self.checkpoint(int(step))
        complete = (self.checkpoint(step) for step in self.checkpoint_steps())
        return next((folder for folder in complete if (folder.path / DATA_LOADER).is_file()), None)

    def checkpoint_steps(self) -> list[int]:
        """Steps of all checkpoints, newest first."""
        steps = (CheckpointFolder(path).step for path in self.path.glob("global_step_*"))
        return sorted((step for step in steps if step is not None), reverse=True)

    def evaluation(self, name: str) -> EvaluationFolder:
        """Where an evaluation of the run's model is kept."""
        return EvaluationFolder(self.path / "eval" / name)

    def evaluations(self) -> list[EvaluationFolder]:
        """The evaluations in the run's folder, by name."""
        return [EvaluationFolder(path) for path in sorted(self.path.glob("eval/*")) if path.is_dir()]

    def retest(self, model: str) -> Path:
        """Results of a re-test of the run's skills on a model; slashes in its name become underscores."""
        return self.path / f"retest_{model.replace('/', '_')}.json"

    def retests(self) -> list[Path]:
        """Files named like results of a re-test. A panel for re-tests may be among them."""
        return sorted(self.path.glob("retest*.json"))

    @property
    def report(self) -> Path:
        """Folder of the report page."""
        return self.path / "report"

    @property
    def story(self) -> Path:
        """Folder of the run's description in text and pictures."""
        return self.path / "story"

    @property
    def learning_curve(self) -> Path:
        """Picture of validation success by step."""
        return self.path / "learning_curve.png"


@dataclass(frozen=True)
class CheckpointFolder:
    """verl's folder of a checkpoint, `global_step_N`."""

    path: Path

    @property
    def state(self) -> Path:
        """The siri trainer's own state (runs/checkpoint.py)."""
        return self.path / "siri_state.json"

    @property
    def bank(self) -> Path:
        """The skill bank at this step."""
        return self.path / BANK_FILE

    @property
    def replay(self) -> Path:
        """Internalized rows that may be learned again (runs/replay.py)."""
        return self.path / REPLAY_FILE

    @property
    def step(self) -> int | None:
        """The training step in the folder's name; None for a folder of another name."""
        found = _STEP.fullmatch(self.path.name)
        return int(found[1]) if found else None


@dataclass(frozen=True)
class EvaluationFolder:
    """The folder of an evaluation (`siri-verl eval`), inside a run's folder or anywhere else."""

    path: Path

    @property
    def trajectories(self) -> Path:
        """Every trajectory (evaluation/log.py)."""
        return self.path / TRAJECTORIES

    @property
    def summary(self) -> Path:
        """Settings and results (evaluation/summary.py)."""
        return self.path / "summary.json"
