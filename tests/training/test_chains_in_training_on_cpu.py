# SPDX-License-Identifier: Apache-2.0
"""The trainer's loader brings tasks of one type at one place of consecutive iterations."""

from itertools import islice

from support.driver import prepare, run_config

from siri_verl.training.trainer import SiriTrainer


def test_iterations_form_chains(tmp_path):
    prepare(tmp_path)
    words = ("siri.curriculum.chain_length=2", "data.shuffle=false", "data.train_batch_size=4")
    run = f"trainer.default_local_dir={tmp_path}/run"
    trainer = SiriTrainer(run_config(tmp_path, *words, run, "trainer.total_training_steps=4"))
    trainer._init_tokenizer()
    trainer._init_dataloader()
    batches = [[str(task) for task in batch["task_id"]] for batch in islice(trainer.train_dataloader, 4)]
    assert len({task for batch in batches for task in batch}) == 16, "no task twice"
    kinds = [[next((k for k in ("coin", "lamp") if k in task), "other") for task in batch] for batch in batches]
    assert kinds[0] == kinds[1] and kinds[2] == kinds[3]
    assert len(set(kinds[0] + kinds[2])) > 1, "chains are of several types"
    trainer.files.close()
