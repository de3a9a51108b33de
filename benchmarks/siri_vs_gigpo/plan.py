# SPDX-License-Identifier: Apache-2.0
"""What is missing, in which order it is run, and what each run is started with."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.siri_vs_gigpo.results import Key
from benchmarks.siri_vs_gigpo.settings import METHODS, PHASE_0, TRAINED, Environment, Method
from siri_verl.core.phases import WARM_UP
from siri_verl.runs.folder import CheckpointFolder, RunFolder


@dataclass(frozen=True)
class Job:
    """One thing to do.

    Attributes:
        seed: of the run.
        method: a row of the table, or `phase_0`.
        record: enter the run into the results; False where another job only needs what it leaves.
    """

    seed: int
    method: str
    record: bool = True


def seeds_of(
    method: str, seeds: Sequence[int], final: bool, methods: Mapping[str, Method] = METHODS
) -> tuple[int, ...]:
    """The seeds a method is run with: all development seeds, and as many final ones as settings.py says."""
    return tuple(seeds[: methods[method].seeds] if final else seeds)


def missing(
    environment: str,
    asked: Iterable[str],
    seeds: Sequence[int],
    final: bool,
    finished: Iterable[Key],
    methods: Mapping[str, Method] = METHODS,
) -> list[Job]:
    """What is to be recorded, seed by seed, methods in the order of settings.py.

    Raises:
        ValueError: an unknown method.
    """
    asked, done = list(asked), set(finished)
    for method in asked:
        if method not in methods:
            raise ValueError(f"--methods {method}: no such method; use some of {', '.join(methods)}")
    return [
        Job(seed, method)
        for seed in seeds
        for method in methods
        if method in asked
        and seed in seeds_of(method, seeds, final, methods)
        and (environment, method, seed) not in done
    ]


def with_needs(
    jobs: Sequence[Job],
    known: Iterable[Key],
    environment: str,
    there: Iterable[tuple[int, str]],
    methods: Mapping[str, Method] = METHODS,
) -> list[Job]:
    """The jobs, each behind what it needs and nobody has left.

    Args:
        jobs: of `missing`.
        known: finished runs; their numbers are known though their folders may lie on another machine.
        there: (seed, method or `phase_0`) whose run folders are complete here.
    """
    ordered: list[Job] = []
    complete, recorded = set(there), {(seed, method) for name, method, seed in known if name == environment}
    wanted = {(job.seed, job.method): job for job in jobs}

    def add(seed: int, name: str, record: bool) -> None:
        if any((job.seed, job.method) == (seed, name) for job in ordered):
            return
        for need in needs(seed, name, complete, recorded, methods):
            add(seed, need, (seed, need) in wanted)
        ordered.append(Job(seed, name, record))

    for job in jobs:
        add(job.seed, job.method, True)
    return ordered


def needs(
    seed: int,
    name: str,
    complete: set[tuple[int, str]],
    recorded: set[tuple[int, str]],
    methods: Mapping[str, Method] = METHODS,
) -> list[str]:
    """What has to be run before: phase 0 for a fork, the other method's checkpoint or numbers."""
    if name == PHASE_0 or (seed, name) in complete:
        return []
    method, found = methods[name], []
    if method.start == PHASE_0 and (seed, PHASE_0) not in complete:
        found.append(PHASE_0)
    numbers_suffice = method.start != TRAINED and (seed, method.of) in recorded
    if method.of and (seed, method.of) not in complete and not numbers_suffice:
        found.append(method.of)
    return found


@dataclass(frozen=True)
class Places:
    """Where things lie below the work folder, by environment and trial."""

    work: Path

    def run(self, seed: int, name: str) -> Path:
        """A run's folder; `name` is a method or `phase_0`."""
        return self.work / f"seed_{seed}" / name

    @property
    def train(self) -> Path:
        """The training panel."""
        return self.work / "train.parquet"

    @property
    def validation(self) -> Path:
        """The panel of the curves."""
        return self.work / "validation.parquet"


def training_words(
    environment: Environment,
    places: Places,
    kwargs: Mapping[str, Any],
    model: Path,
    seed: int,
    name: str,
    control: Mapping[str, int] | None = None,
    extra: Sequence[str] = (),
    methods: Mapping[str, Method] = METHODS,
) -> list[str]:
    """The overrides a run is started with.

    Args:
        environment: its settings.
        places: folders.
        kwargs: settings of the environment that depend on the machine (its store).
        model: the warm-started model.
        seed: of the run.
        name: a method that trains, or `phase_0`.
        control: of `control_numbers`, for the self-imitation control.
        extra: overrides of a trial; a method's own come after them.
        methods: of the comparison.

    Raises:
        ValueError: the method trains nothing, or lacks the compared run's numbers.
    """
    method = methods.get(name, Method())
    groups = [*environment.groups, *filter(None, [method.group])]
    words = [
        f"+siri=[{','.join(groups)}]",
        f"data.train_files={places.train}",
        f"data.val_files={places.validation}",
        *(f"siri.environment.kwargs.{key}={value}" for key, value in kwargs.items()),
        f"actor_rollout_ref.model.path={model}",
        f"siri.seed={seed}",
        f"trainer.experiment_name={name}_{seed}",
        f"trainer.default_local_dir={places.run(seed, name)}",
        f"siri.budget.env_steps={environment.budget}",
        *environment.overrides,
        *extra,
    ]
    if name == PHASE_0:
        return [*words, f"siri.budget.last_phase={WARM_UP}"]
    if method.start == TRAINED:
        raise ValueError(f"{name}: trains nothing; it evaluates what {method.of} became")
    if method.start == PHASE_0:
        # Phase 0 has validated this policy.
        words.append("trainer.val_before_train=false")
    if not method.of:
        return [*words, *method.overrides]
    if control is None:
        raise ValueError(f"{name}: needs the numbers of the {method.of} run of seed {seed}")
    # A gate that let nothing through leaves one token: zero would be refused as forgotten.
    numbers = {"tokens": max(1, control["self_imitation_tokens"]), "mining_steps": max(1, control["mining_steps"])}
    return [*words, *(word.format(**numbers) for word in method.overrides)]


def complete(run: Path, budget: int | None) -> bool:
    """Whether a run folder holds a finished run: its newest checkpoint is past the budget or, for phase 0 (None), past
    warm-up."""
    if not RunFolder(run).tracker.is_file():
        return False
    if budget is None:
        return bool(checkpoint_state(run)["skills"]["phases"]["moves"])
    return checkpoint_state(run)["env_steps"] >= budget


def newest_checkpoint(run: Path) -> CheckpointFolder:
    """A run's newest checkpoint.

    Raises:
        FileNotFoundError: the run has none.
    """
    found = RunFolder(run).newest_checkpoint()
    if found is None:
        raise FileNotFoundError(f"{RunFolder(run).tracker}: the run has no checkpoint; run it first")
    return found


def checkpoint_state(run: Path) -> dict[str, Any]:
    """The siri trainer's state in the newest checkpoint."""
    return json.loads(newest_checkpoint(run).state.read_text(encoding="utf-8"))


def fork(source: Path, target: Path, *, plain: bool) -> bool:
    """Begin a run where phase 0 ended: its newest checkpoint, and its metrics, so that curve and costs are whole.

    Args:
        source: phase 0's folder.
        target: the run's folder. One that has a checkpoint goes on from there, one without is made anew.
        plain: the run stays in warm-up: the checkpoint's phase, which has just moved on, is set back.

    Returns:
        Whether a fork was made.

    Raises:
        FileNotFoundError: phase 0 has no checkpoint.
    """
    if RunFolder(target).tracker.is_file():
        return False
    if not RunFolder(source).tracker.is_file():
        raise FileNotFoundError(f"{RunFolder(source).tracker}: phase 0 has no checkpoint; run it first")
    checkpoint = newest_checkpoint(source).path
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        shutil.copytree(checkpoint, made / checkpoint.name)
        for file in (RunFolder(source).metrics, RunFolder(source).tracker):
            shutil.copyfile(file, made / file.name)
        if plain:
            file = CheckpointFolder(made / checkpoint.name).state
            state = json.loads(file.read_text(encoding="utf-8"))
            phases = state["skills"]["phases"]
            moves = phases["moves"]
            if moves:
                phases |= {"phase": WARM_UP, "steps": moves[0]["step"], "moves": []}
            file.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        made.chmod(0o755)
        made.rename(target)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return True
