# SPDX-License-Identifier: Apache-2.0
"""verl is as siri_verl's training and rollout code expects it. A failure says what to change and where."""

import inspect

import pytest
from support.seam_contract import check_seam

from siri_verl.seams.seam import resolve
from siri_verl.seams.training import SEAMS


@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.target)
def test_seam(seam):
    check_seam(seam)


def test_trainer_mode_and_estimator_are_registered_by_the_plugin():
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.v1 import get_trainer_cls

    found = get_trainer_cls("siri").__module__
    assert found == "siri_verl.training.trainer", (
        f"verl.trainer.ppo.v1:get_trainer_cls('siri') comes from {found}; in siri_verl/registration.py: siri_trainer "
        "must import siri_verl.training.trainer once verl's synchronous trainer is there"
    )
    found = get_adv_estimator_fn("gigpo").__module__
    assert found == "siri_verl.training.estimator", (
        f"verl.trainer.ppo.core_algos:get_adv_estimator_fn('gigpo') comes from {found}; in siri_verl/registration.py: "
        "advantage_estimators must register ours"
    )


UPDATE_ACTOR = "verl.trainer.ppo.v1.trainer_base:PPOTrainer._update_actor"
SENT = {
    *("calculate_entropy", "distillation_use_topk", "distillation_only", "global_batch_size", "mini_batch_size"),
    *("epochs", "seed", "dataloader_kwargs", "temperature"),
}
"""What SiriTrainer._update_actor sends along too, mini_batch_size apart."""


def test_update_actor_still_sends_what_ours_sends():
    source = inspect.getsource(resolve(UPDATE_ACTOR))
    start, end = source.find("extra_info = {"), source.find("batch.extra_info.update")
    advice = "in siri_verl/training/trainer.py: carry the change over to SiriTrainer._update_actor and to this test"
    assert 0 < start < end, f"{UPDATE_ACTOR} no longer builds extra_info in one place; {advice}"
    lines = [line.strip() for line in source[start:end].splitlines()]
    sent = {line.split('"')[1] for line in lines if line.startswith('"') and '":' in line}
    assert sent == SENT, f"{UPDATE_ACTOR} sends {sorted(sent ^ SENT)} more or less than expected; {advice}"
