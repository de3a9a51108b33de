# SPDX-License-Identifier: Apache-2.0
"""The warm start through verl's own dataset and trainer, a few steps long."""

import pandas
import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

from siri_verl.demos.webshop.warm_start import WARM_START, WebShopWarmStartSettings

SMALL = WebShopWarmStartSettings(act=24, follow=24, describe=24, shops=2, batch_size=16, seed=3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("warm_start")
    return out, WARM_START.run(out, SMALL)


def test_verls_trainer_leaves_a_float32_folder_that_learned_something(trained):
    out, folder = trained
    before = AutoModelForCausalLM.from_pretrained(out / "initial")
    after = AutoModelForCausalLM.from_pretrained(folder)
    assert after.dtype == torch.float32 and after.config.vocab_size == len(AutoTokenizer.from_pretrained(folder))
    moved = [(a - b).abs().max().item() for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    assert all(0 < m < 1 for m in moved)
    row = pandas.read_parquet(out / "rows.parquet").messages[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(list(row), tokenize=True, return_dict=True, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        losses = [model(input_ids=ids, labels=ids).loss.item() for model in (before, after)]
    assert losses[1] < losses[0] - 0.5


def test_loss_is_on_the_reply_and_its_end_alone(trained):
    out, folder = trained
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = OmegaConf.create({"pad_mode": "no_padding", "max_length": WARM_START.max_length, "truncation": "error"})
    dataset = MultiTurnSFTDataset(str(out / "rows.parquet"), tokenizer, settings)
    messages = pandas.read_parquet(out / "rows.parquet").messages
    for k in range(0, len(dataset), 7):
        row = dataset[k]
        learned = tokenizer.decode(row["input_ids"][row["loss_mask"].bool()])
        assert learned.removesuffix(tokenizer.eos_token).strip() == messages[k][1]["content"]
        assert learned.endswith(tokenizer.eos_token)


def test_the_seed_decides_the_rows(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        WARM_START.write_rows(
            tmp_path / name, WebShopWarmStartSettings(act=5, follow=5, describe=5, shops=2, seed=seed)
        )
    a, b, c = (pandas.read_parquet(tmp_path / name) for name in "abc")
    assert a.astype(str).equals(b.astype(str)) and not a.astype(str).equals(c.astype(str))


def test_a_second_run_into_the_same_folder_is_refused(trained):
    with pytest.raises(FileExistsError, match="exists already"):
        WARM_START.run(trained[0], SMALL)


def test_a_failing_trainer_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match="ended with status"):
        WARM_START.run(tmp_path, SMALL, ["data.max_length=8"])
