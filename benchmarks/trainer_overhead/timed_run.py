# SPDX-License-Identifier: Apache-2.0
"""verl's `main_ppo` with a clock in the trainer's process; Hydra overrides as for verl itself.

    python benchmarks/trainer_overhead/timed_run.py +siri=[base,cpu,cpu_small] ... trainer.default_local_dir=DIR

Writes DIR/driver_seconds.jsonl, one line per step. A step lasts from one `on_step_begin` to the next, so it holds what
verl does between steps too (metrics, logging, clearing rows). Driver-side seconds are what is left of it without

- `ReplayBuffer.sample`: the episodes, and the wait between two looks at the buffer (2 s in verl's sync mode);
- calls of worker groups (log-probs, reference, update), of the checkpoint manager (weights, sleep) and the hand-over of
  tasks to the rollout workers.

With `trainer.v1.trainer_mode=sync` the trainer is verl's alone: the advantage function that siri_verl's plugin replaces
is put back.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import ray
from omegaconf import OmegaConf
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

WORKER_CALLS = ("compute_log_prob", "compute_ref_log_prob", "update_actor", "set_loss_fn")
PlainRunner = TaskRunnerV1.__ray_metadata__.modified_class


class StepClock:
    """Seconds of a step, and those of it spent waiting for others; wall clock and CPU time of this process."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.began: tuple[float, float] | None = None
        self.elsewhere = [0.0, 0.0]
        self.inside = False
        self.size: dict[str, int] = {}

    @staticmethod
    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def step_begins(self) -> None:
        now = self.now()
        if self.began is not None:
            wall, cpu = (now[i] - self.began[i] - self.elsewhere[i] for i in (0, 1))
            record = {"driver_s": wall, "driver_cpu_s": cpu, "step_s": now[0] - self.began[0], **self.size}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        self.began, self.elsewhere = self.now(), [0.0, 0.0]

    def waiting(self, call: Callable) -> Callable:
        """`call`, whose time is not the driver's."""

        @functools.wraps(call, updated=())
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return call(*args, **kwargs)
            self.inside, before = True, self.now()
            try:
                return call(*args, **kwargs)
            finally:
                self.inside, after = False, self.now()
                self.elsewhere = [self.elsewhere[i] + after[i] - before[i] for i in (0, 1)]

        return timed


class TimedRunner(PlainRunner):
    """verl's task runner; the clock is put in place once the trainer is set up."""

    def run(self, config: Any) -> None:
        if config.trainer.v1.trainer_mode == "sync":
            from verl.trainer.ppo.v1 import trainer_base, utils

            trainer_base.compute_advantage_for_multi_trajectories = utils.compute_advantage_for_multi_trajectories
        super().run(config)

    def init_agent_loop_manager(self) -> None:
        super().init_agent_loop_manager()
        trainer = self.trainer
        clock = StepClock(Path(self.config.trainer.default_local_dir) / "driver_seconds.jsonl")
        calls = [
            (self.agent_loop_manager, ("generate_sequences",)),
            (trainer.replay_buffer, ("sample",)),
            (trainer.checkpoint_manager, ("update_weights", "sleep_replicas")),
            (trainer.actor_rollout_wg, WORKER_CALLS),
        ]
        if trainer.use_reference_policy and not trainer.ref_in_actor:
            calls.append((trainer.ref_policy_wg, WORKER_CALLS))
        for owner, names in calls:
            for name in names:
                if hasattr(owner, name):
                    setattr(owner, name, clock.waiting(getattr(owner, name)))
        begin = trainer.on_step_begin

        def on_step_begin() -> None:
            clock.step_begins()
            begin()

        compute_metrics = trainer._compute_metrics

        def _compute_metrics(batch: Any, metrics: dict, *args: Any, **kwargs: Any) -> None:
            compute_metrics(batch, metrics, *args, **kwargs)
            clock.size = {"rows": len(batch), "tokens": metrics["perf/total_num_tokens"]}

        trainer.on_step_begin, trainer._compute_metrics = on_step_begin, _compute_metrics


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
def main(config: Any) -> None:
    OmegaConf.set_struct(config, False)
    run_ppo(config, task_runner_class=ray.remote(TimedRunner))


if __name__ == "__main__":
    main()
