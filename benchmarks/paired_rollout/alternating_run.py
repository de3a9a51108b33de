# SPDX-License-Identifier: Apache-2.0
"""Run the trainer with paired and all-plain steps in turn, and write down what each step took.

    python benchmarks/paired_rollout/alternating_run.py "+siri=[webshop,cpu,cpu_small,webshop_demo]" ...

Odd steps are all plain; even steps pair every group that has a skill. DIR/steps.jsonl gets one line per step.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import hydra
import ray
from omegaconf import OmegaConf
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo

from siri_verl.training.internalization_rows import ROW_TAG

PlainRunner = TaskRunnerV1.__ray_metadata__.modified_class
STAGES = ("gen", "old_log_prob", "update_actor", "adv", "step")


def is_paired(step: int) -> bool:
    return step % 2 == 0


class AlternatingRunner(PlainRunner):
    """verl's task runner; skills are kept from odd steps once the trainer is set up."""

    def init_agent_loop_manager(self) -> None:
        super().init_agent_loop_manager()
        trainer = self.trainer
        path = Path(self.config.trainer.default_local_dir) / "steps.jsonl"
        planner, tokens = trainer.skills.planner, {}
        plan, update, compute = planner.plan, trainer._update_actor, trainer._compute_metrics

        @functools.wraps(plan)
        def plan_in_turn(task_ids: Any, step: int, choose: Any) -> Any:
            return plan(task_ids, step, choose if is_paired(step) else lambda *_: None)

        @functools.wraps(update)
        def _update_actor(batch: Any, metrics: dict) -> Any:
            added = [tag.get(ROW_TAG, False) for tag in batch.tags]
            tokens["added"] = sum(tag["seq_len"] for tag, extra in zip(batch.tags, added, strict=True) if extra)
            tokens["policy"] = sum(tag["seq_len"] for tag, extra in zip(batch.tags, added, strict=True) if not extra)
            return update(batch, metrics)

        @functools.wraps(compute)
        def _compute_metrics(batch: Any, metrics: dict, timing_raw: dict, global_steps: int, epoch: int) -> None:
            compute(batch, metrics, timing_raw, global_steps, epoch)
            record = {"step": global_steps, "paired": is_paired(global_steps), "rows": metrics["siri/rows"]}
            record |= {f"{name}_s": timing_raw.get(name, 0.0) for name in STAGES}
            record |= {"paired_groups": metrics.get("siri/paired_groups", 0), "turn_tokens": tokens["policy"]}
            record |= {"added_rows": metrics["siri/internalization/rows_added"], "added_tokens": tokens["added"]}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

        planner.plan, trainer._update_actor, trainer._compute_metrics = plan_in_turn, _update_actor, _compute_metrics


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
def main(config: Any) -> None:
    OmegaConf.set_struct(config, False)
    run_ppo(config, task_runner_class=ray.remote(AlternatingRunner))


if __name__ == "__main__":
    main()
