# SPDX-License-Identifier: Apache-2.0
"""Groups that say nothing: all equal, all failed, all solved, one trajectory, nothing but malformed replies."""

import math

import numpy as np
import pytest

from siri_verl.core.gigpo import GigpoSettings, gigpo
from siri_verl.core.internalization import row_weights
from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.core.pairing import treatment_effects
from siri_verl.core.rules import UtilitySettings
from siri_verl.core.turns import read_turns
from siri_verl.skills.bank import SkillBank
from siri_verl.skills.skill import Provenance

SETTINGS = [
    GigpoSettings(norm=norm, episode_stats=stats)
    for norm in ("mean", "mean_std")
    for stats in ("per_step", "per_trajectory")
]


def turns(rewards, valid=True, trajectories=None):
    """Two turns per trajectory in one group; the reward comes last."""
    count = len(rewards)
    trajectory = [t for t in range(count) for _ in range(2)]
    reward = [value for last in rewards for value in (0.0, last)]
    anchors = ["start", "room"] * count
    return read_turns(["g"] * 2 * count, trajectory, [0, 1] * count, anchors, reward, [valid] * 2 * count)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.norm} {s.episode_stats}")
@pytest.mark.parametrize("rewards", [[0.0] * 4, [10.0] * 4, [0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2]])
def test_a_group_whose_trajectories_are_equal_has_no_advantage(settings, rewards):
    found = gigpo(turns(rewards), settings)
    assert not found.total.any() and not found.episode.any() and not found.step.any()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.norm} {s.episode_stats}")
def test_a_group_of_malformed_replies_alone_has_no_advantage_over_itself(settings):
    found = gigpo(turns([0.0] * 4, valid=False), settings)
    assert np.isfinite(found.total).all()
    if settings.episode_stats == "per_step":
        assert not found.total.any(), "every row bears the same penalty"


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.norm} {s.episode_stats}")
@pytest.mark.parametrize("reward", [0.0, 10.0])
def test_one_trajectory_is_compared_with_itself_alone(settings, reward):
    found = gigpo(turns([reward]), settings)
    assert np.isfinite(found.total).all()
    assert not found.step.any(), "no state was visited twice"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_named_by_its_row(bad):
    with pytest.raises(ValueError, match="reward of row 3"):
        turns([1.0, bad])


@pytest.mark.parametrize("value", [0.0, 10.0])
def test_arms_without_a_difference_are_evidence_of_zero(value):
    arm, skill = ["plain", "plain", "skill", "skill"], ["", "", "s0001", "s0001"]
    (effect,) = treatment_effects(["g"] * 4, [0, 1, 2, 3], arm, skill, [value] * 4, success_reward=10.0).values()
    assert effect.defined and effect.delta == 0.0
    bank = SkillBank(utility=UtilitySettings())
    bank.add("a", "open it", "type", Provenance("", "", 0, "hand"))
    bank.record(effect, "t", 1)
    assert bank.utility("s0001") == 0.0 and bank["s0001"].status == "candidate"


def test_a_group_without_a_difference_internalizes_nothing():
    settings = InternalizationSettings()
    scale, clip = settings.scale_and_clip("mean", 10.0)
    assert not row_weights(np.zeros(4), np.zeros(4), scale, clip, settings).any()


@pytest.mark.parametrize("arms, why", [(["plain"] * 2, "no_skill_arm"), (["skill"] * 2, "no_plain_arm")])
def test_a_group_with_one_arm_has_no_effect(arms, why):
    skill = ["s0001" if arm == "skill" else "" for arm in arms]
    (effect,) = treatment_effects(["g"] * 2, [0, 1], arms, skill, [0.0, 10.0], success_reward=10.0).values()
    assert effect.undefined == why and math.isnan(effect.delta)
    bank = SkillBank()
    bank.add("a", "open it", "type", Provenance("", "", 0, "hand"))
    assert bank.record(effect, "t", 1) is None and not bank["s0001"].evidence
