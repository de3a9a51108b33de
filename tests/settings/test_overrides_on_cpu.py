# SPDX-License-Identifier: Apache-2.0
"""A misspelt setting on the command line is named, whoever composes the configuration."""

import pytest

from siri_verl.planning.compose import ComposeError, compose_run


@pytest.mark.parametrize(
    "word, says",
    [
        ("siri.rollout.max_turn=2", "did you mean siri.rollout.max_turns? siri.rollout has max_turns, request_seeds"),
        ("siri.rolout.max_turns=2", "siri.rolout.max_turns=2: no such setting; did you mean siri.rollout? "),
        ("trainer.total_traning_steps=2", "did you mean trainer.total_training_steps? +trainer.total_traning_steps=2"),
        ("siri.seed.x=2", "siri.seed.x=2: siri.seed is no block of settings"),
        ("dta.x=2", "did you mean data? "),
    ],
)
def test_the_nearest_setting_is_named(word, says):
    with pytest.raises(ComposeError) as error:
        compose_run(["+siri=webshop", word])
    assert says in str(error.value) and "Could not override" not in str(error.value)


def test_other_refusals_of_hydra_stay():
    with pytest.raises(ComposeError, match="already at 'trainer.nnodes'"):
        compose_run(["+trainer.nnodes=2"])
    assert compose_run(["+siri=webshop", "+trainer.mine=2"]).trainer.mine == 2
