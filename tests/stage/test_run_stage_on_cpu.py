# SPDX-License-Identifier: Apache-2.0
"""A stage with a real process: log, exit code, interrupts, and what is left running."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
from rich.console import Console

from siri_verl.runs.metrics import MetricsLog
from siri_verl.stage.run import Stage, run_stage

CHILDREN = """
import os, subprocess, sys, time
# One in a session of its own, as torchrun's workers are, that ignores a request to end.
code = '''
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
'''
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
open(sys.argv[1], "w").write(str(child.pid))
"""


def alive(pid):
    """Not a zombie, which only its new parent can remove."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def play(tmp_path, code, *arguments, **given):
    out = io.StringIO()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    stage = Stage("a stage", command, tmp_path / "run" / "run.log", rerun="bash again", **given)
    return run_stage(stage, Console(file=out, width=200)), out.getvalue().splitlines(), stage.log


def test_output_goes_to_the_log_and_marked_lines_to_the_screen(tmp_path):
    code = "import sys; print('noise'); print('[siri] step 1/2 | a'); sys.stderr.write('torn')"
    for _ in range(2):
        result, shown, log = play(tmp_path, code)
    assert result == 0
    assert shown[:2] == ["a stage ...", "step 1/2 | a"] and shown[2].startswith("a stage: done in ") and len(shown) == 3
    text = log.read_text()
    assert text.count("\n==== ") == 2 and text.count("\nnoise\n") == 2 and text.count("\ntorn") == 2


def test_a_failure_keeps_its_exit_code_and_ends_with_its_last_lines_and_the_log(tmp_path, capfd):
    result, shown, log = play(tmp_path, "[print('line', k) for k in range(50)]; raise SystemExit(7)")
    errors = capfd.readouterr().err.splitlines()
    assert result == 7 and shown == ["a stage ..."]
    assert errors[:-1] == [f"  line {number}" for number in range(30, 50)]
    assert errors[-1] == f"a stage: failed with exit code 7; the whole log: {log}"


def test_a_killed_command_has_the_exit_code_of_a_shell(tmp_path, capfd):
    result, _, _ = play(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert result == 128 + signal.SIGKILL


def test_verbose_shows_all(tmp_path, capfd):
    result, _, log = play(tmp_path, "print('noise')", verbose=True)
    assert result == 0 and capfd.readouterr().out == "noise\n" and "noise" in log.read_text()


def interrupted(code, tmp_path, times, **given):
    """Interrupts this process, as a terminal does, once the command is up."""
    ready = tmp_path / "ready"

    def interrupt():
        while not ready.exists() or not ready.read_text():
            time.sleep(0.05)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    sender = threading.Thread(target=interrupt)
    sender.start()
    try:
        return play(tmp_path, code, ready, **given), int(ready.read_text())
    finally:
        sender.join()


def test_an_interrupt_says_how_to_go_on_and_leaves_no_process(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("siri_verl.stage.run.LEFT_OVER", 0.2)
    MetricsLog(tmp_path / "run" / "metrics.jsonl").write("train", 3, {"x": 1})
    code = CHILDREN + "time.sleep(600)"
    (result, shown, log), child = interrupted(code, tmp_path, 1, run=tmp_path / "run")
    assert result == 130
    assert shown[1:] == [
        "stopping; interrupt again to stop at once",
        "stopped after step 3; there is no checkpoint yet, a rerun begins with step 1",
        "start again with: bash again",
    ]
    assert "KeyboardInterrupt" in log.read_text() and capfd.readouterr().err == ""
    assert not alive(child)


def test_two_interrupts_stop_a_command_that_does_not_listen(tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" + CHILDREN + "time.sleep(600)"
    began = time.monotonic()
    (result, shown, _), child = interrupted(code, tmp_path, 2)
    assert result == 130 and shown[-1] == "go on with: bash again"
    assert time.monotonic() - began < 60 and not alive(child)


def test_what_a_command_leaves_behind_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("siri_verl.stage.run.LEFT_OVER", 0.2)
    ready = tmp_path / "ready"
    result, _, _ = play(tmp_path, CHILDREN, ready)
    assert result == 0 and not alive(int(ready.read_text()))


def test_the_command_line_keeps_words_and_exit_code(tmp_path):
    log = tmp_path / "run.log"
    words = [
        "--title",
        "a stage",
        "--log",
        str(log),
        "--",
        sys.executable,
        "-c",
        "import sys; print(sys.argv); sys.exit(3)",
    ]
    command = [sys.executable, "-m", "siri_verl", "stage", *words, "--set", "a b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3 and "['-c', '--set', 'a b']" in log.read_text()
    assert done.stdout == "a stage ...\n" and done.stderr.endswith(f"the whole log: {log}\n")
