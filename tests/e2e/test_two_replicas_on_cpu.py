# SPDX-License-Identifier: Apache-2.0
"""Two trainer workers, each with a light server of its own, on one node."""

import pytest
from support.toy_run import check_run, train, write_inputs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # two minutes on two free cores


def test_two_replicas_serve_one_run(tmp_path):
    inputs = write_inputs(tmp_path)
    train(inputs, tmp_path / "run", "trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.agent.num_workers=2")
    for found in check_run(tmp_path / "run").values():
        assert found["siri/rollout/servers"] == 2 and found["siri/rollout/nodes"] == 1
        assert found["siri/rollout/server_share_min"] > 0.2
    assert found["siri/internalization/rows_added"] % 4 == 0, "two workers, two optimizer steps"
