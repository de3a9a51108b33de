# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""verl is as siri_verl's training and rollout code expects it. A failure says what to change and where."""

import inspect

import pytest

from siri_verl.seams import SEAMS, Seam, problem, resolve


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    found = problem(seam)
    assert found is None, found


def test_a_moved_seam_is_reported_with_advice():
    gone = Seam("verl.trainer.ppo.v1.trainer_base:PPOTrainer.no_such_method", ("self",), "ours.py", "do this")
    assert "is gone" in problem(gone) and "do this" in problem(gone)
    other = Seam("verl.trainer.ppo.v1.trainer_base:PPOTrainer._save_checkpoint", ("self", "x"), "ours.py", "do this")
    assert "expected (self, x)" in problem(other)


def test_trainer_mode_and_estimator_are_registered_by_the_plugin():
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.v1 import get_trainer_cls

    assert get_trainer_cls("siri").__module__ == "siri_verl.training.trainer"
    assert get_adv_estimator_fn("gigpo").__module__ == "siri_verl.training.estimator"


def test_update_actor_still_sends_what_ours_sends():
    # SiriTrainer._update_actor repeats verl's keys; a new one must be carried over.
    source = inspect.getsource(resolve("verl.trainer.ppo.v1.trainer_base:PPOTrainer._update_actor"))
    block = source[source.index("extra_info = {") : source.index("batch.extra_info.update")]
    theirs = {line.split('"')[1] for line in block.splitlines() if line.strip().startswith('"') and '":' in line}
    assert theirs == {
        "calculate_entropy",
        "distillation_use_topk",
        "distillation_only",
        "global_batch_size",
        "mini_batch_size",
        "epochs",
        "seed",
        "dataloader_kwargs",
        "temperature",
    }


def test_loss_denominator_and_row_keys_are_what_the_step_table_relies_on():
    from verl.workers.engine.fsdp import transformer_impl

    assert 'data["loss_mask"].sum()' in inspect.getsource(transformer_impl)
    worker = resolve("verl.trainer.ppo.v1.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class")
    source = inspect.getsource(worker._agent_loop_postprocess)
    assert 'f"{uid}_{session_id}_{i}"' in source
    assert 'field["loss_mask"] = field["response_mask"]' in source
