# SPDX-License-Identifier: Apache-2.0
"""Runs what is missing of the comparison and enters every finished run at once.

    python benchmarks/siri_vs_gigpo/run.py --seeds final --commit          what the table is made of
    python benchmarks/siri_vs_gigpo/run.py --seeds dev --trial lr_1e-4 --override actor_rollout_ref.actor.optim.lr=1e-4
    python benchmarks/siri_vs_gigpo/run.py --seeds final --dry-run         what would be run

Stopped and started again, it goes on; so does another machine, from the committed results. README.md has the protocol.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO))

from benchmarks.siri_vs_gigpo import plan, results  # noqa: E402
from benchmarks.siri_vs_gigpo.settings import (  # noqa: E402
    PHASE_0,
    PRESETS,
    SIRI_VS_GIGPO,
    TRAINED,
    Environment,
    Protocol,
)
from siri_verl.runs import record as run_record  # noqa: E402
from siri_verl.runs.folder import RunFolder  # noqa: E402
from siri_verl.skills.bank_file import load_bank  # noqa: E402

MODEL_LIMIT = 5 << 20
"""Bytes of a warm-started model that may be committed."""


class BenchmarkError(RuntimeError):
    """The comparison cannot go on. The message says why and what to do."""


@dataclass
class Comparison:
    """One environment's comparison, on development or final seeds.

    Attributes:
        protocol: what is compared.
        name: of the environment.
        final: seeds, test split and results file.
        trial: development trials each have their own results.
        extra: overrides of the trial.
        work: folder of everything that is not committed.
        commit: make a git commit per finished run.
        only: some of the seeds; empty for all.
    """

    name: str
    final: bool
    trial: str
    extra: tuple[str, ...]
    work: Path
    commit: bool = False
    home: Path | None = None
    only: tuple[int, ...] = ()
    protocol: Protocol = SIRI_VS_GIGPO

    def __post_init__(self) -> None:
        environments, self.methods = self.protocol.environments, self.protocol.methods
        if self.name not in environments:
            raise BenchmarkError(f"--environment {self.name}: settings.py has {', '.join(environments)}")
        if self.final and (self.extra or self.trial != "base"):
            raise BenchmarkError("--trial and --override: for development seeds; final runs take settings.py as it is")
        if self.extra and self.trial == "base":
            raise BenchmarkError("--override: name the trial as well, --trial NAME, so that its results stay apart")
        self.environment: Environment = environments[self.name]
        self.seeds = self.protocol.final_seeds if self.final else self.protocol.dev_seeds
        if unknown := sorted(set(self.only) - set(self.seeds)):
            raise BenchmarkError(f"--only {' '.join(map(str, unknown))}: settings.py has {self.seeds}")
        self.home = self.home or self.protocol.home
        self.folder = self.home if self.final else self.home / "development" / self.trial
        part = "final" if self.final else f"dev_{self.trial}"
        self.places = plan.Places(self.work / self.name / part)
        self.fingerprints = self.protocol.fingerprints(self.name, self.extra)
        self.results = results.Results(self.folder)
        self.results.check_settings(self.name, self.fingerprints)

    # ---- what is to be done --------------------------------------------------------------------------------------

    def jobs(self, methods: Sequence[str]) -> list[plan.Job]:
        """What is missing, in order."""
        wanted = plan.missing(self.name, methods, self.seeds, self.final, self.results.finished, self.methods)
        wanted = [job for job in wanted if not self.only or job.seed in self.only]
        trained = [PHASE_0, *(name for name, method in self.methods.items() if method.start != TRAINED)]
        there = [(seed, name) for seed in self.seeds for name in trained if self._complete(seed, name)]
        return plan.with_needs(wanted, self.results.finished, self.name, there, self.methods)

    def _complete(self, seed: int, name: str) -> bool:
        return plan.complete(self.places.run(seed, name), None if name == PHASE_0 else self.environment.budget)

    def words(self, job: plan.Job, kwargs: dict[str, Any], model: Path, *, planned: bool = False) -> list[str]:
        """What the job's training is started with; `planned` shows a control's numbers as 1 where they are not known
        yet."""
        control = None
        if job.method != PHASE_0 and self.methods[job.method].of:
            compared = self.methods[job.method].of
            run = self.places.run(job.seed, compared)
            control = self.results.facts((self.name, compared, job.seed))
            if control is None and self._complete(job.seed, compared):
                control = results.control_numbers(run)
            if control is None and planned:
                control = {"self_imitation_tokens": 1, "mining_steps": 1}
        return plan.training_words(
            self.environment, self.places, kwargs, model, job.seed, job.method, control, self.extra, self.methods
        )

    # ---- doing it ------------------------------------------------------------------------------------------------

    def run(self, job: plan.Job, kwargs: dict[str, Any], model: Path) -> None:
        """Train if need be, measure, enter."""
        method = self.methods.get(job.method)
        trains = method is None or method.start != TRAINED
        name = job.method if trains else self.methods[job.method].of
        folder = self.places.run(job.seed, name)
        if trains and not self._complete(job.seed, job.method):
            words = self.words(job, kwargs, model)
            if method is not None and method.start == plan.PHASE_0:
                plan.fork(self.places.run(job.seed, PHASE_0), folder, plain=method.plain)
            train(words, folder, self.places.work)
            if not self._complete(job.seed, job.method):
                raise BenchmarkError(f"{folder}: the run ended before its budget was spent; see {folder / 'log.txt'}")
        if method is None or not job.record:
            return
        summary = self.evaluate(folder, with_skills=not trains)
        row = {
            **{"environment": self.name, "method": job.method, "seed": job.seed},
            **{"tasks": summary["tasks"], "success": summary["success"]["mean"], "score": summary["score"]["mean"]},
            **results.training_numbers(folder),
        }
        given = self.words(job, kwargs, model) if trains else list(self.extra)
        facts = {
            "settings": self.fingerprints[job.method],
            # Paths say nothing about the run.
            "overrides": [word for word in given if str(self.work) not in word and str(model) not in word],
            "commit": run_record.source_commit(REPO) or "",
            "machine": {name: fact for name, fact in run_record.machine().items() if name != "system"},
            "warm_start": weights_hash(model),
            **results.control_numbers(folder),
        }
        points = results.curve_points(folder)
        by_type = {name: found["success"]["mean"] for name, found in summary["by_type"].items()}
        skills = results.active_skills(plan.newest_checkpoint(folder).bank)
        curve = {
            **{name: row[name] for name in ("environment", "method", "seed")},
            **{"points": points, "facts": facts, "success_by_type": by_type, "active_skills": skills},
        }
        with self.results.alone():
            self.results.check_settings(self.name, self.fingerprints)
            self.results.add({name: row[name] for name in results.RESULT}, curve)
            if self.commit:
                seed = f"{'seed' if self.final else 'development seed'} {job.seed}"
                commit(
                    [self.results.rows_file, self.results.curves_file, self.home / "warm_start"],
                    f"{self.protocol.folder}: {job.method} on {self.name}, {seed}",
                )

    def evaluate(self, run: Path, *, with_skills: bool) -> dict[str, Any]:
        """`siri-verl eval` of a run's last checkpoint, on the plain prompt or with the best active skills in it."""
        from siri_verl.core.rules import ACTIVE
        from siri_verl.evaluation.options import EvalOptions
        from siri_verl.evaluation.prepare import prepare
        from siri_verl.evaluation.run import run_evaluation

        split = self.environment.test if self.final else self.environment.development
        bank = plan.newest_checkpoint(run).bank if with_skills else None
        if bank and not any(skill.status == ACTIVE for skill in load_bank(bank).skills.values()):
            print(f"{bank}: no active skill; the prompt with skills is the plain one", flush=True)
            bank = None
        options = EvalOptions(
            model=str(run),
            environment=self.name,
            split=split,
            size=self.environment.test_tasks,
            repeats=self.environment.repeats,
            bank=bank,
        )
        name = split.replace("/", "-") + ("_skills" if with_skills else "")
        return run_evaluation(prepare(options), RunFolder(run).evaluation(name).path)

    def prepare(self) -> tuple[dict[str, Any], Path]:
        """The shop, the warm-started model and the panels. Returns (settings of the environment, the model)."""
        from siri_verl.envs.panels import make_panel, write_dataset

        # All comparisons start from the same model.
        home = HERE if self.home == self.protocol.home else self.home
        kwargs, model = prepare_webshop(self.work / "data", home / "warm_start" / self.name)
        for split, file, size in (
            (self.environment.train, self.places.train, None),
            (self.environment.development, self.places.validation, self.environment.validation_tasks),
        ):
            panel = make_panel(self.name, kwargs, split, size)
            write_dataset(panel, file)
            panel.write(file.with_suffix(".json"))
        return kwargs, model


def prepare_webshop(data: Path, shipped: Path) -> tuple[dict[str, Any], Path]:
    """The demo shop, made here, and the warm-started model: the committed one, or one made now to be committed."""
    from siri_verl.demos.webshop.generator import PANELS, generate

    shop = data / "webshop_demo"
    if not (shop / PANELS).exists():
        generate(shop, overwrite=True)
    if not (shipped / "config.json").exists():
        made = data / "webshop_demo_model"
        if not (made / "model" / "config.json").exists():
            command = [sys.executable, "-m", "siri_verl.demos.webshop.warm_start", "--out", str(made)]
            subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        size = sum(file.stat().st_size for file in (made / "model").rglob("*") if file.is_file())
        if size > MODEL_LIMIT:
            raise BenchmarkError(f"{made / 'model'}: {size} bytes, more than the {MODEL_LIMIT} that may be committed")
        part = shipped.with_name(f".{shipped.name}")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(made / "model", part)
        part.rename(shipped)
    return {"store": str(shop / "store")}, shipped


def train(words: Sequence[str], folder: Path, where: Path) -> None:
    """One training run in a process, and a Ray cluster, of its own: nothing of one run reaches the next.

    Raises:
        BenchmarkError: it failed; the end of its log is in the message.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with log.open("ab") as file:
        command = [sys.executable, "-m", "verl.trainer.main_ppo", *words]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, cwd=where, env=environment)
    if done.returncode:
        end = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise BenchmarkError(f"{folder.name}: training failed ({done.returncode}); the end of {log}:\n{end}")


def weights_hash(model: Path) -> str:
    """The first half of the SHA-256 of a model's weights."""
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:32]


def check_committed(file: Path) -> None:
    """Raise BenchmarkError unless the file is as in the last commit."""
    command = ["git", "status", "--porcelain", "--", str(file)]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True)
    if done.returncode or done.stdout.strip():
        state = (done.stdout or done.stderr).strip()
        raise BenchmarkError(f"{file} ({state}): commit it first; final seeds are run under committed settings")


def commit(paths: Sequence[Path], subject: str) -> None:
    """A git commit of these paths alone; tried again while another process holds the index.

    Raises:
        BenchmarkError: git refused.
    """
    names = [str(path) for path in paths if path.exists()]
    for attempt in range(10):
        done = None
        for command in (["add", "--", *names], ["commit", "-q", "-m", subject, "--", *names]):
            done = subprocess.run(["git", *command], cwd=paths[0].parent, capture_output=True, text=True)
            if done.returncode:
                break
        assert done is not None
        if not done.returncode:
            return
        if "index.lock" not in done.stderr:
            break
        time.sleep(1 + attempt)
    raise BenchmarkError(f"git could not commit {', '.join(names)}: {(done.stderr or done.stdout).strip()}")


def parse(arguments: Sequence[str] | None, protocol: Protocol, description: str | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(protocol.methods)
    parser.add_argument("--seeds", choices=("dev", "final"), required=True)
    parser.add_argument("--methods", nargs="+", default=names, help=f"some of {', '.join(names)}")
    parser.add_argument("--only", nargs="+", type=int, default=[], help="some of the seeds, for several machines")
    parser.add_argument("--environment", default="webshop")
    parser.add_argument("--work", type=Path, default=REPO / "runs" / protocol.folder, help="shop, checkpoints, logs")
    parser.add_argument("--trial", default="base", help="development: name of a set of overrides")
    parser.add_argument("--override", nargs="+", default=[], help="development: settings of every run of the trial")
    parser.add_argument("--commit", action="store_true", help="a git commit per finished run")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run")
    return parser.parse_args(arguments)


def main(
    arguments: Sequence[str] | None = None, protocol: Protocol = SIRI_VS_GIGPO, description: str | None = __doc__
) -> int:
    """Returns the number of runs that failed."""
    given = parse(arguments, protocol, description)
    final = given.seeds == "final"
    comparison = Comparison(
        given.environment,
        final,
        given.trial,
        tuple(given.override),
        given.work.resolve(),
        given.commit,
        only=tuple(given.only),
        protocol=protocol,
    )
    jobs = comparison.jobs(given.methods)
    if given.dry_run:
        kwargs, model = {"store": str(given.work.resolve() / "data" / "webshop_demo" / "store")}, HERE / "warm_start"
        for job in jobs:
            print(f"# seed {job.seed}: {job.method}{'' if job.record else ' (needed)'}")
            if job.method == PHASE_0 or protocol.methods[job.method].start != TRAINED:
                print(shlex.join(comparison.words(job, kwargs, model / given.environment, planned=True)))
        return 0
    if final:
        for file in (HERE / "settings.py", protocol.home / "settings.py", PRESETS):
            check_committed(file)
    if not jobs:
        print("nothing is missing")
        return 0
    kwargs, model = comparison.prepare()
    failed: list[str] = []
    for number, job in enumerate(jobs, 1):
        started = time.monotonic()
        print(f"[{number}/{len(jobs)}] {job.method}, seed {job.seed}", flush=True)
        try:
            comparison.run(job, kwargs, model)
        except Exception as error:  # whatever one run's libraries raise must not keep the others from running
            failed.append(f"{job.method}, seed {job.seed}: {type(error).__name__}: {error}")
            print(failed[-1], file=sys.stderr, flush=True)
        print(f"    {time.monotonic() - started:.0f} s", flush=True)
    print("\n".join(["failed:", *failed]) if failed else "all done")
    return len(failed)


if __name__ == "__main__":
    try:
        sys.exit(min(main(), 1))
    except (BenchmarkError, results.ResultsError, ValueError) as problem:
        sys.exit(str(problem))
