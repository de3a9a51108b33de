# SPDX-License-Identifier: Apache-2.0
"""verl's command: what ends it before Ray starts, and what an interrupt prints."""

import logging
import os
import subprocess
import sys

import pytest
from verl.utils.tokenizer.continuous_token_wiring import infer_continuous_token_model_family

from siri_verl.planning.compose import compose_run
from siri_verl.screen import STAGE
from siri_verl.training import driver


def test_verls_command_is_told_from_every_other_process(monkeypatch):
    for words, expected in (
        (["python", "-m", "verl.trainer.main_ppo", "+siri=base"], True),
        (["python", "-u", "-m", "verl.trainer.main_ppo"], True),
        (["python", "-m", "pytest", "verl.trainer.main_ppo"], False),
        (["python", "default_worker.py"], False),
        (["python", "-m"], False),
    ):
        monkeypatch.setattr(sys, "orig_argv", words)
        assert driver.is_driver() == expected, words


@pytest.mark.parametrize("word", ["+siri.rollout.grups=2", "algorithm.gigpo.gamma=2"])
def test_a_wrong_setting_ends_the_driver_with_its_message(word):
    with pytest.raises(SystemExit, match=r"^error (siri.rollout.grups: no such setting|algorithm.gigpo.gamma=2)"):
        driver.check_driver(compose_run(["+siri=webshop", "siri.environment.kwargs.store=/x", word]))


def test_a_run_of_verl_alone_passes():
    driver.check_driver(compose_run([]))


def interrupt(capsys, error):
    shown = []
    driver._report(lambda *given: shown.append(given), type(error), error, None)
    return shown, capsys.readouterr().err.splitlines()


def test_an_interrupt_prints_two_lines_and_other_errors_stay(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(STAGE, raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["/venv/bin/python", "-m", "verl.trainer.main_ppo", "a.b=c d"])
    monkeypatch.setattr(driver, "_run", [tmp_path])
    shown, lines = interrupt(capsys, KeyboardInterrupt())
    assert not shown and lines == [
        "",
        "stopped before the first step's end; there is no checkpoint yet, a rerun begins with step 1",
        "start again with: python -m verl.trainer.main_ppo 'a.b=c d'",
    ]
    shown, lines = interrupt(capsys, ValueError("x"))
    assert len(shown) == 1 and not lines
    monkeypatch.setenv(STAGE, "x")  # the stage prints them
    assert interrupt(capsys, KeyboardInterrupt()) == ([], [])


def test_verl_warns_of_unknown_model_types_and_not_of_our_loop(caplog):
    import siri_verl.rollout.agent_loop  # noqa: F401

    with caplog.at_level(logging.WARNING, "verl.utils.tokenizer.continuous_token_wiring"):
        logging.getLogger("verl").propagate = True
        infer_continuous_token_model_family(hf_model_type=None)
        assert not caplog.records
        infer_continuous_token_model_family(hf_model_type="unknown")
        assert len(caplog.records) == 1


def test_transfer_queue_asks_for_no_more_threads_than_there_are_cores():
    code = "import os, psutil, verl; print(os.environ.get('TQ_NUM_THREADS'), psutil.cpu_count(logical=False))"
    clean = {key: value for key, value in os.environ.items() if key != "TQ_NUM_THREADS"}
    for given, expected in (({}, None), ({"TQ_NUM_THREADS": "3"}, "3")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | given)
        threads, cores = done.stdout.split()
        few = cores if cores != "None" and int(cores) < 8 else "None"
        assert threads == (expected or few), done.stderr
