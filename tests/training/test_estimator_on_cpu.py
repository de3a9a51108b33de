# SPDX-License-Identifier: Apache-2.0
"""The estimator seam with verl's own advantage functions."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.protocol import DataProto
from verl.trainer.ppo.v1 import trainer_base, utils

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.turns import read_turns
from siri_verl.failures import ConfigError
from siri_verl.training.advantages import token_advantages
from siri_verl.training.estimator import check_estimator, gigpo_estimator, over_turns, rows_are_turns
from siri_verl.training.step_table import StepTable

ALGORITHM = OmegaConf.create({"gigpo": {"gamma": 0.9, "norm": "mean"}, "adv_estimator": "gigpo", "gamma": 1.0})
# Two tasks, two trajectories each, of different length; one padding row at the end.
TURNS = {"u_0": (2, 10.0), "u_1": (4, 0.0), "v_0": (1, 0.0), "v_1": (3, 10.0)}


def batch():
    keys, scores, fields, uids, lengths = [], [], [], [], []
    for name, (turns, score) in TURNS.items():
        for t in range(turns):
            keys.append(f"{name}_{t}")
            scores.append(score)
            uids.append(name[0])
            lengths.append(2 + t)
            fields.append({"anchor": f"s{t % 2}", "turn_reward": score if t == turns - 1 else 0.0, "valid": t != 1})
    keys.append("pad0_0_0")
    scores.append(0.0)
    uids.append("pad0")
    lengths.append(0)
    fields.append({})
    tags = [{"is_padding": key.startswith("pad")} for key in keys]
    mask = torch.tensor([[1.0] * n + [0.0] * (6 - n) for n in lengths])
    rewards = torch.zeros_like(mask)
    for i, (n, score) in enumerate(zip(lengths, scores, strict=True)):
        if n:
            rewards[i, n - 1] = score
    data = DataProto(
        batch=TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=len(keys)),
        non_tensor_batch={"uid": np.array(uids, dtype=object)},
    )
    return keys, StepTable.build(keys, tags, fields), data


def compute(name, data, keys, algorithm=ALGORITHM):
    settings = dict(gamma=1.0, lam=1.0, num_repeat=2, norm_adv_by_std_in_grpo=True, config=algorithm)
    return trainer_base.compute_advantage_for_multi_trajectories(data, batch_keys=keys, adv_estimator=name, **settings)


def test_the_plugin_put_the_seam_in_place():
    assert getattr(trainer_base.compute_advantage_for_multi_trajectories, "__siri__", False)


def test_gigpo_through_verl_equals_the_pure_function():
    keys, table, data = batch()
    with rows_are_turns(token_advantages(table, GigpoSettings(gamma=0.9), 6)):
        result = compute("gigpo", data, keys).batch["advantages"]
    real = table.real
    columns = (table.group, table.trajectory, table.turn, np.array(table.anchor), table.reward, table.valid)
    turns = read_turns(*(column[real] for column in columns))
    expected = gigpo(turns, GigpoSettings(gamma=0.9, norm="mean")).total
    first = result[:, 0].numpy()
    assert np.allclose(first[real], expected, atol=1e-5)
    assert np.all(result.numpy()[~real] == 0)
    # broadcast over response tokens, 0 elsewhere
    mask = data.batch["response_mask"].numpy()
    assert np.allclose(result.numpy(), first[:, None] * mask, atol=1e-6)


def test_gigpo_without_anchors_is_an_error_and_never_grpo():
    _, _, data = batch()
    with pytest.raises(ConfigError, match="anchors"):
        gigpo_estimator(data.batch["token_level_rewards"], data.batch["response_mask"], config=ALGORITHM)


@pytest.mark.parametrize("name", ["rloo", "opo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "gpg", "grpo"])
def test_outcome_estimators_see_one_row_per_trajectory(name):
    keys, _, data = batch()
    last = [i for i, key in enumerate(keys) if key in {f"{n}_{turns - 1}" for n, (turns, _) in TURNS.items()}]
    original = utils.compute_advantage_for_multi_trajectories
    alone = original(
        data.select_idxs(last), [keys[i] for i in last], adv_estimator=name, gamma=1.0, lam=1.0, num_repeat=2,
        norm_adv_by_std_in_grpo=True, config=ALGORITHM,
    )  # fmt: skip
    per_trajectory = {keys[i].rsplit("_", 1)[0]: float(alone.batch["advantages"][k, 0]) for k, i in enumerate(last)}
    result = compute(name, data, keys).batch["advantages"]
    for i, key in enumerate(keys):
        expected = per_trajectory.get(key.rsplit("_", 1)[0], 0.0)
        mask = data.batch["response_mask"][i]
        assert torch.allclose(result[i], expected * mask, atol=1e-6), (name, key)
    assert len({round(v, 4) for v in per_trajectory.values()}) > 1


def test_estimators_without_a_meaning_over_turns_are_refused():
    with pytest.raises(ConfigError, match="remax"):
        check_estimator("remax")
    for name in ("gigpo", "grpo", "rloo", "reinforce_plus_plus", "gae"):
        check_estimator(name)


def test_over_turns_keeps_verls_signature():
    import inspect

    original = utils.compute_advantage_for_multi_trajectories
    assert inspect.signature(over_turns(original)) == inspect.signature(original)


def test_another_signature_of_verls_function_is_refused_with_advice():
    def renamed(data, keys, adv_estimator):
        raise AssertionError

    with pytest.raises(RuntimeError, match="takes .'data', 'keys', 'adv_estimator'.*over_turns in siri_verl/training"):
        over_turns(renamed)


@pytest.mark.parametrize("name", ["remax", "gdpo", "optimal_token_baseline", "tir_optimal_token_baseline"])
def test_verls_other_estimators_are_refused_over_turns_alone(name):
    keys, _, data = batch()
    with pytest.raises(ConfigError, match=f"adv_estimator='{name}': the agent loop returns one row per turn, and it"):
        compute(name, data, keys)
    last = [i for i, key in enumerate(keys) if key in {f"{n}_{turns - 1}" for n, (turns, _) in TURNS.items()}]
    with pytest.raises(Exception) as own:  # verl's own complaint about what they need
        compute(name, data.select_idxs(last), [keys[i] for i in last])
    assert not isinstance(own.value, ConfigError)


def test_every_estimator_of_verl_is_accounted_for():
    from verl.trainer.ppo.core_algos import AdvantageEstimator

    from siri_verl.training.estimator import NEED_MORE, ONE_ROW_PER_TRAJECTORY, TOKEN_LEVEL

    assert {e.value for e in AdvantageEstimator} == {*NEED_MORE, *ONE_ROW_PER_TRAJECTORY, *TOKEN_LEVEL}


@pytest.mark.parametrize("name", ["rloo", "opo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "gpg", "grpo"])
def test_one_row_per_trajectory_is_left_to_verl(name):
    keys, _, data = batch()
    alone = [i for i, key in enumerate(keys) if key.endswith("_0")]
    given = data.select_idxs(alone), [keys[i] for i in alone]
    settings = dict(gamma=0.5, lam=1.0, num_repeat=2, norm_adv_by_std_in_grpo=True, config=ALGORITHM)
    expected = utils.compute_advantage_for_multi_trajectories(*given, adv_estimator=name, **settings)
    found = trainer_base.compute_advantage_for_multi_trajectories(*given, adv_estimator=name, **settings)
    assert torch.equal(found.batch["advantages"], expected.batch["advantages"])


def test_rows_without_tokens_are_no_sequences_of_rollout_correction():
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])

    def corrected(mask):
        values = {"old_log_probs": -0.5 * mask, "rollout_log_probs": -0.25 * mask, "response_mask": mask}
        config = OmegaConf.create({"rollout_is": "sequence", "rollout_is_threshold": 2.0, "rollout_rs": None})
        data = DataProto(batch=TensorDict(values, batch_size=len(mask)))
        return trainer_base.compute_rollout_correction_and_add_to_batch(data, config)

    longer = torch.cat([mask, torch.zeros(3, 2)])
    with rows_are_turns(None):
        alone, expected = corrected(mask)
        padded, found = corrected(longer)
    assert found == expected
    assert torch.equal(padded.batch["rollout_is_weights"][:2], alone.batch["rollout_is_weights"])
    # verl's other trainer modes keep verl's numbers
    assert corrected(longer)[1]["rollout_corr/rollout_is_seq_min"] == 0 < expected["rollout_corr/rollout_is_seq_min"]
