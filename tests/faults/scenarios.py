# SPDX-License-Identifier: Apache-2.0
"""Faults, injected into the real parts. Each function takes a working folder and returns a row of the table."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support.fault_run import DEADLINE, STEPS, FaultRun, forgotten, skills, state, step_metrics
from support.oracle import oracle
from support.ray_nodes import two_ray_nodes
from support.toy_run import write_inputs

NO_SPACE = ("No space left", "Read-only file system", "PytorchStreamWriter")
"""What a disk that is full says; the last is torch's."""
KEY = "sk-planted-0123456789abcdef"


@dataclass
class Row:
    """A row of the table.

    Attributes:
        fault: what happens.
        injected: how often it did.
        steps_lost: training steps whose result is missing or differs from that of a run without faults.
        skills_lost: skills that a run without faults has and this one has not.
        hung: processes that had to be ended, of the run or left over by it.
        outcome: in words.
        problems: what must not have been.
    """

    fault: str
    injected: int = 0
    steps_lost: int = 0
    skills_lost: int = 0
    hung: int = 0
    outcome: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.injected > 0 and not (self.steps_lost or self.skills_lost or self.hung or self.problems)


def inputs_of(work: Path) -> Path:
    """Model, panels and bank, made once."""
    folder = work / "inputs"
    return folder if (folder / "bank.jsonl").is_file() else write_inputs(_made(folder))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def reference(work: Path) -> Path:
    """The same run without faults, made once."""
    run = FaultRun(inputs_of(work), work / "reference")
    if run.steps() < STEPS:
        run.start()
        code = run.finish()
        assert code == 0, run.tail()
        run.left_over()
    return run.path


def compare(row: Row, run: Path, work: Path) -> None:
    """The finished run against the one without faults."""
    ours, theirs = step_metrics(run), step_metrics(reference(work))
    row.steps_lost += sum(ours.get(step) != found for step, found in theirs.items())
    row.problems += [f"a step too many: {step}" for step in ours.keys() - theirs.keys()]
    mine, expected = skills(run), skills(reference(work))
    row.skills_lost += sum(mine.get(name) != text for name, text in expected.items())
    if state(run) != state(reference(work)):
        row.problems.append("the state of the last checkpoint differs")
    left = [path.name for path in run.rglob(".*") if path.is_file()]
    row.problems += [f"temporary file {name}" for name in left]


def resumes(row: Row, run: FaultRun, work: Path) -> bool:
    """Start a stopped run again; whether it ended well. Then what it left and its result are in the row."""
    run.start()
    if run.finish() != 0:
        row.problems.append(f"does not resume: {run.tail(1500)}")
        return False
    run.left_over()
    compare(row, run.path, work)
    return True


def ended(row: Row, run: FaultRun, segments: set[str], *, patience: float = DEADLINE) -> int:
    """Wait for the end of a run that a fault stops; count what is left."""
    code = run.finish(patience)
    if code == -999:
        row.hung += 1
        row.problems.append(f"still running {patience:.0f} s after the fault")
    left = run.left_over()
    row.hung += len(left)
    row.problems += [f"left over: {title}" for title in left]
    row.problems += [f"shared memory left over: {name}" for name in forgotten(segments)]
    return code


def kills(work: Path, count: int, seed: int = 1, victims: tuple[tuple[str, ...], ...] = ()) -> Row:
    """SIGKILL at random moments. After each the run is started again; at the end it is compared with one without."""
    victims = victims or (("all",), ("driver",), ("TaskRunner",))
    row, rng = Row(f"SIGKILL: {', '.join('+'.join(v) for v in victims)}"), random.Random(seed)
    run, phases = FaultRun(inputs_of(work), work / f"kills_{seed}"), set()
    reference(work)
    # The kills spread over all steps; some starts are killed before they have finished one.
    while row.injected < count and run.steps() < STEPS:
        left, kills_left = STEPS - run.steps(), count - row.injected
        wanted = run.steps() + round(left / (kills_left + 1) + rng.uniform(-0.5, 0.5))
        run.start()
        run.wait_until(lambda goal=wanted: run.named("ray::WorkerDict") and run.steps() >= goal)
        time.sleep(rng.uniform(0.0, 6.0))
        if run.driver.poll() is not None:
            break
        phases.add(min(run.steps() // 6, 2))
        row.injected += bool(run.kill(*victims[row.injected % len(victims)]))
        code = ended(row, run, run.segments)
        if code == 0:
            row.problems.append("exit code 0 after a SIGKILL")
        print(f"  kill {row.injected}: after step {run.steps()}, exit code {code}", flush=True)
    if run.steps() < STEPS:
        run.start()
        if run.finish() != 0:
            row.problems.append(f"the last start failed: {run.tail(500)}")
            return row
        run.left_over()
    compare(row, run.path, work)
    row.outcome = f"resumed to the same bank, phase, replay and metrics; phases {sorted(phases)}"
    return row


def worker_lost(work: Path, *names: str) -> Row:
    """A process of Ray's dies: the run stops within the deadline with an exit code, or goes on; resumed it ends as one
    without faults."""
    row = Row(f"Ray worker lost: {names[0].removeprefix('ray::')}")
    run = FaultRun(inputs_of(work), work / f"lost_{names[0].rpartition(':')[2]}")
    run.start()
    run.wait_until(lambda: run.steps() >= 2 and run.named(*names))
    row.injected = run.kill(*names)
    code = ended(row, run, run.segments)
    if code == 0:
        row.outcome = "went on"
        compare(row, run.path, work)
    else:
        row.outcome = f"stopped with exit code {code}; resumed"
        resumes(row, run, work)
    return row


def environment_lost(work: Path) -> Row:
    """The environment server dies during episodes: they do not count, groups without a whole arm give no evidence."""
    row = Row("environment process killed mid-episode")
    run = FaultRun(inputs_of(work), work / "environment_lost")
    run.start()
    for goal in (1, 3, 5, 8):
        run.wait_until(lambda goal=goal: run.steps() >= goal and run.named("ray::EnvironmentServer"))
        time.sleep(0.3)
        row.injected += run.kill("ray::EnvironmentServer")
    code = ended(row, run, run.segments, patience=1800)
    if code != 0:
        row.problems.append(f"exit code {code}: {run.tail(500)}")
        return row
    row.steps_lost = STEPS - len(step_metrics(run.path))
    from siri_verl.skills.bank_file import load_bank

    for skill in load_bank(run.folder.checkpoint(STEPS).bank).skills.values():
        row.problems += [
            f"evidence with missing arms: {e}" for e in skill.evidence if e.step and e.skill_n != e.plain_n
        ]
    row.outcome = "the run went on; its episodes count nowhere"
    return row


def rollout(work: Path, kind: str) -> Row:
    """The rollout server fails a request, answers late, with garbage, or nothing (support/rollout_faults.py)."""
    row = Row(f"rollout server: {kind}", injected=1)
    folder = work / f"rollout_{kind}"
    run = FaultRun(
        inputs_of(work), folder, "siri.rollout.request_timeout=20",
        VERL_USE_EXTERNAL_MODULES="support.rollout_faults", SIRI_ROLLOUT_FAULT=kind,
        PYTHONPATH=os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
    )  # fmt: skip
    run.start()
    goes_on = kind in ("late", "empty")
    run.wait_until(lambda: run.steps() >= 4) if goes_on else None
    if goes_on:
        run.driver.send_signal(signal.SIGINT)
    code = ended(row, run, run.segments, patience=600)
    if not goes_on:
        reason = {"fail": "injected failure", "garbage": "expected token ids", "silent": "did not answer within 20 s"}[
            kind
        ]
        if code in (0, -999) or reason not in run.log.read_text(errors="replace"):
            row.problems.append(f"exit code {code}, no clear reason: {run.tail(500)}")
    row.outcome = "the run went on" if goes_on else f"stopped with the reason and exit code {code}"
    return row


def miner_fails(work: Path) -> Row:
    """The miner's endpoint answers with errors: the run stops with the reason; with a sound endpoint it goes on."""
    row = Row("miner's endpoint fails and repeats its key", injected=1)
    with oracle("x", refused=("",), status=503) as address:
        endpoint = {"base_url": address, "model": "m", "retries": 0}
        overrides = [f"siri.mining.endpoint.{name}={value}" for name, value in endpoint.items()]
        run = FaultRun(inputs_of(work), work / "miner", *overrides, OPENAI_API_KEY=KEY)
        run.start()
        code = ended(row, run, run.segments, patience=900)
    if code in (0, -999) or "status 503" not in run.log.read_text(errors="replace"):
        row.problems.append(f"exit code {code}, no clear reason: {run.tail(500)}")
    row.problems += [f"the key is in {path}" for path in [run.log, *run.path.rglob("*")] if _holds_key(path)]
    run.command = [word for word in run.command if not word.startswith("siri.mining.endpoint")]
    if not resumes(row, run, work):
        return row
    row.outcome = f"stopped with the reason and exit code {code}; resumed with the policy as miner"
    return row


def _holds_key(path: Path) -> bool:
    return path.is_file() and KEY.encode() in path.read_bytes()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of this size in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def disk(work: Path, kind: str) -> Row:
    """The disk of the run fills up, or becomes read-only, while checkpoints are written; then there is space again."""
    row = Row(f"disk {kind} at a checkpoint", injected=1)
    folder = work / f"disk_{kind}"
    run = FaultRun(inputs_of(work), folder)
    with small_disk(folder, "64m"):
        run.start()
        run.wait_until(lambda: run.steps() >= 3 and run.folder.newest_checkpoint() is not None)
        if kind == "full":
            free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
            (folder / "ballast").write_bytes(b"\0" * max(0, free - (100 << 10)))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        code = ended(row, run, run.segments, patience=600)
        text = run.log.read_text(errors="replace")
        if code in (0, -999) or not any(words in text for words in NO_SPACE):
            row.problems.append(f"exit code {code}, no clear reason: {run.tail(500)}")
        if kind == "full":
            (folder / "ballast").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        if not resumes(row, run, work):
            return row
    row.outcome = f"stopped with the reason and exit code {code}; resumed"
    return row


def node_lost(work: Path) -> Row:
    """One of two Ray nodes dies."""
    row = Row("Ray node lost")
    with two_ray_nodes() as joining:
        run = FaultRun(inputs_of(work), work / "node", "trainer.nnodes=2", "+siri=[cpu_cluster]", **joining)
        run.command = [word for word in run.command if not word.startswith("+siri=")]
        run.command.insert(3, "+siri=[base,cpu,cpu_small,cpu_cluster]")
        run.start()
        run.wait_until(lambda: run.steps() >= 1)
        row.injected = joining_node_killed(joining)
        code = ended(row, run, run.segments, patience=420)
    if code in (0, -999):
        row.problems.append(f"exit code {code}: {run.tail(500)}")
    row.outcome = f"stopped with exit code {code}"
    return row


def joining_node_killed(joining: dict[str, str]) -> int:
    """SIGKILL the raylet of the node that is not the head, with its workers."""
    address, found = joining["RAY_ADDRESS"], 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if f"--address={address}" in words and "start" in words:
                for child in process.children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
                process.kill()
                found += 1
    return found


def interrupts(work: Path, count: int) -> Row:
    """Ctrl-C once: a clean stop that names the checkpoint. Twice: it stops at once. Nothing is left running."""
    row = Row(f"Ctrl-C {'once' if count == 1 else 'twice'}", injected=1)
    run = FaultRun(inputs_of(work), work / f"interrupt_{count}")
    screen = work / f"interrupt_{count}.screen"
    words = ["--title", "training", "--log", str(work / f"interrupt_{count}.stage"), "--run", str(run.path)]
    command = [sys.executable, "-m", "siri_verl", "stage", *words, "--rerun", "bash again", "--", *run.command]
    with screen.open("wb") as out:
        run.driver = subprocess.Popen(command, cwd=run.inputs, env=run.environment, stdout=out, stderr=out)
    run.log = screen
    run.wait_until(lambda: run.folder.newest_checkpoint() is not None and run.steps() >= 2)
    begun = time.monotonic()
    for _ in range(count):
        run.driver.send_signal(signal.SIGINT)
        time.sleep(0.5)
    code = ended(row, run, run.segments)
    seconds, text = time.monotonic() - begun, screen.read_text(errors="replace")
    if code != 130 or "resume with: bash again" not in text or "Traceback" in text:
        row.problems.append(f"exit code {code}: {text[-500:]}")
    run = FaultRun(inputs_of(work), run.path)
    if not resumes(row, run, work):
        return row
    row.outcome = f"exit code 130 after {seconds:.0f} s, nothing left running; resumed"
    return row


def same_folder(work: Path) -> Row:
    """A second run in the same folder is refused; one in another folder runs beside the first."""
    row = Row("two runs at once; two in one folder", injected=2)
    first = FaultRun(inputs_of(work), work / "first")
    first.start()
    first.wait_until(lambda: first.folder.record.is_file() and first.steps() >= 1)
    second, begun = FaultRun(inputs_of(work), work / "first"), time.monotonic()
    second.log = work / "second.log"
    second.start()
    code, seconds = second.finish(DEADLINE), time.monotonic() - begun
    if code in (0, -999) or "another process is writing it" not in second.log.read_text(errors="replace"):
        row.problems.append(f"the second is not refused: exit code {code}: {second.tail(500)}")
    beside = FaultRun(inputs_of(work), work / "beside")
    beside.start()
    codes = first.finish(), beside.finish()
    if codes != (0, 0):
        row.problems.append(f"exit codes {codes}")
        return row
    for run in (first, beside):
        run.left_over()
        compare(row, run.path, work)
    row.outcome = f"refused after {seconds:.0f} s with exit code {code}; both others end as one alone"
    return row


SCENARIOS: dict[str, Callable[[Path], Row]] = {
    "environment": environment_lost,
    "rollout_fail": lambda work: rollout(work, "fail"),
    "rollout_garbage": lambda work: rollout(work, "garbage"),
    "rollout_silent": lambda work: rollout(work, "silent"),
    "rollout_late": lambda work: rollout(work, "late"),
    "rollout_empty": lambda work: rollout(work, "empty"),
    "replica": lambda work: worker_lost(work, "ray::LightServer"),
    "miner": miner_fails,
    "disk_full": lambda work: disk(work, "full"),
    "disk_read_only": lambda work: disk(work, "read_only"),
    "trainer_worker": lambda work: worker_lost(work, "ray::WorkerDict"),
    "loop_worker": lambda work: worker_lost(work, "ray::SiriAgentLoopWorker"),
    "storage": lambda work: worker_lost(work, "ray::SimpleStorageUnit"),
    "node": node_lost,
    "interrupt": lambda work: interrupts(work, 1),
    "interrupt_twice": lambda work: interrupts(work, 2),
    "same_folder": same_folder,
}
