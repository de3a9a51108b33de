# SPDX-License-Identifier: Apache-2.0
"""siri.budget: verl's own training loop ends where the budget is spent, with a checkpoint and a validation."""

from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import trainer_base

from siri_verl.core.phases import PHASES
from siri_verl.failures import ConfigError
from siri_verl.runs.writer import RunWriter
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank import SkillBank
from siri_verl.training.trainer import SiriTrainer


class Batch:
    keys, partition_id = [], "train"


class Loop(SiriTrainer):
    """The trainer's loop and its way to end, without models: a step plays 40 turns and may end a phase."""

    def __init__(self, folder, phases, save_freq, test_freq, start=0, **budget):
        trainer = {"val_before_train": False, "total_epochs": 1000, "save_freq": save_freq, "test_freq": test_freq}
        trainer |= {"default_local_dir": str(folder)}
        names = {"project_name": "p", "experiment_name": "e", "logger": []}
        blocks = {"trainer": {**trainer, **names}, "global_profiler": {"steps": None}}
        self.config = OmegaConf.create(blocks)
        OmegaConf.set_struct(self.config, True)
        self.settings = siri_settings(OmegaConf.create({"siri": {"budget": budget}}))
        self.total_training_steps, self.steps_per_epoch, self.global_steps = 20, 5, start
        self.files = RunWriter(self.config, seed=0)
        self.env_steps, self.saved, self.validated, self.phases = 40 * start, [], [], phases
        self.siri = SimpleNamespace(bank=SkillBank(), machine=SimpleNamespace(phase=None))
        teacher = SimpleNamespace(with_left_out=lambda batch: batch)
        self.iteration = SimpleNamespace(end=lambda: None, take_metrics=dict, teacher=teacher)

    def _next_batch(self, metrics, timing_raw):
        """verl's step."""
        self.env_steps += 40
        self.siri.machine.phase = PHASES[self.phases[self.global_steps - 1]]
        return Batch()

    def _save_checkpoint(self):
        self.saved.append(self.global_steps)

    def _validate(self, *args, **kwargs):
        self.validated.append(self.global_steps)
        return {"siri/val/success": 0.5}

    def nothing(self, *args, **kwargs):
        return {}

    on_step_begin = on_step_end = on_validate_begin = on_validate_end = on_train_end = nothing
    _start_profiling = _stop_profiling = _compute_metrics = _consume_sync_metrics = nothing
    _reissue_inflight_prompts = _shutdown_dump_executor = nothing


@pytest.fixture
def play(monkeypatch, tmp_path):
    monkeypatch.setattr(trainer_base.tq, "kv_clear", lambda **kwargs: None)
    monkeypatch.setattr(trainer_base.PPOTrainer, "step", Loop._next_batch)
    monkeypatch.setattr(trainer_base.SkipManager, "init", lambda config: None)
    monkeypatch.setattr(trainer_base.SkipManager, "set_step", lambda step: None)

    def run(phases=(0,) * 20, save_freq=7, test_freq=5, start=0, **budget):
        loop = Loop(tmp_path, phases, save_freq, test_freq, start, **budget)
        loop.fit(None)
        return loop.env_steps, loop.saved, loop.validated

    return run


def test_without_a_budget_verls_own_bound_holds(play):
    assert play() == (800, [7, 14, 20], [5, 10, 15, 20])


@pytest.mark.parametrize("budget, steps", [(1, 1), (400, 10), (401, 11), (440, 11)])
def test_the_first_step_at_or_past_the_budget_is_the_last(play, budget, steps):
    env_steps, saved, validated = play(env_steps=budget)
    assert env_steps == 40 * steps and env_steps - 40 < budget <= env_steps
    assert saved == sorted({*range(7, steps, 7), steps}) and validated == sorted({*range(5, steps, 5), steps})


def test_a_phases_end_is_the_runs(play):
    # the phase is looked at after the step that may have ended it
    assert play(phases=[0, 0, 0, 1, *[1] * 16], last_phase="warm_up") == (160, [4], [4])
    assert play(phases=[0, 0, 0, 1, *[1] * 16], last_phase="mining") == (800, [7, 14, 20], [5, 10, 15, 20])


def test_a_budget_that_the_last_step_does_not_reach_is_reported(play, caplog):
    assert play(env_steps=801, last_phase="warm_up") == (800, [7, 14, 20], [5, 10, 15, 20])
    (line,) = caplog.messages
    assert line.startswith("step 20 is the run's last, before its budget is spent: 800 of siri.budget.env_steps=801 ")
    assert line.endswith("the phase is warm_up, siri.budget.last_phase=warm_up has not ended")
    caplog.clear()
    play(env_steps=800)
    assert not caplog.messages


def test_a_run_resumed_from_its_last_step_says_that_nothing_is_played(play, caplog):
    assert play(start=20) == (800, [], [])
    assert caplog.messages == ["the checkpoint is of step 20, and the run ends at step 20: no step is played"]


def test_frequencies_that_are_off_stay_off(play):
    assert play(save_freq=-1, test_freq=-1, env_steps=100) == (120, [], [])


def test_values_out_of_range_are_named():
    for block, text in (
        ({"env_steps": 0}, "siri.budget.env_steps=0: use null or at least 1"),
        ({"last_phase": "phase 0"}, "siri.budget.last_phase='phase 0': use one of warm_up, mining, internalization"),
    ):
        with pytest.raises(ConfigError, match=text.replace(".", r"\.")):
            siri_settings(OmegaConf.create({"siri": {"budget": block}}))
