# SPDX-License-Identifier: Apache-2.0

import logging

import pytest

from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.nodes import check_nodes, nodes_alive

ABSOLUTE = (
    "data.train_files=/data/train.parquet",
    "data.val_files=[/data/a.parquet,hdfs://data/b.parquet]",
    "trainer.default_local_dir=/runs/one",
    "siri.environment.kwargs.store=/data/shop",
)


def check(*changes, nodes=2, groups="webshop,cpu,cpu_small,cpu_cluster"):
    config = compose_run([f"+siri=[{groups}]", *ABSOLUTE, *changes])
    check_nodes(config, siri_settings(config), nodes)


def test_absolute_paths_pass_and_every_node_gets_a_worker(caplog):
    with caplog.at_level(logging.WARNING):
        check("siri.initial_bank=/data/bank.jsonl")
    assert not caplog.records


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("data.train_files", "data/train.parquet"),
        ("data.val_files", "val.parquet"),
        ("trainer.default_local_dir", "runs/one"),
        ("siri.initial_bank", "bank.jsonl"),
        ("siri.environment.kwargs.store", "data/shop"),
    ],
)
def test_a_relative_path_is_refused_on_several_nodes_alone(change, value):
    with pytest.raises(ConfigError) as error:
        check(f"{change}={value}")
    assert f"{change}={value!r}" in str(error.value) and "absolute path" in str(error.value)
    check(f"{change}={value}", nodes=1)


def test_too_few_workers_for_the_nodes_are_mentioned(caplog):
    with caplog.at_level(logging.WARNING):
        check("trainer.nnodes=3", "actor_rollout_ref.rollout.agent.num_workers=2")
    assert "num_workers=2" in caplog.text and "on 2 of the 3 nodes" in caplog.text


def test_outside_of_a_cluster_there_is_one_node():
    assert nodes_alive() == 1
