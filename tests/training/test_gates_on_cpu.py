# SPDX-License-Identifier: Apache-2.0
"""The gates on hand-made tables: which turns are learned."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.pairing import TreatmentEffect
from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.gates import GateInput, gate_named, plain_turns


@dataclass
class Table:
    """One turn per trajectory: (group, arm, solved)."""

    turns: list
    usable: np.ndarray = field(init=False)

    def __post_init__(self):
        group, arm, success = zip(*self.turns, strict=True)
        self.group, self.arm = np.array(group, dtype=object), np.array(arm, dtype=object)
        self.success, n = np.array(success), len(group)
        self.usable, self.valid, self.skill_missing = np.ones(n, bool), np.ones(n, bool), np.zeros(n, bool)

    def span_tokens(self, span):
        return np.ones(len(self.turns), dtype=int)


def given(turns, effects=()):
    return GateInput(Table(turns), {e.group: e for e in effects}, np.zeros(len(turns)), frozenset(), 1)


def effect(group, delta, skill_id="s1"):
    return TreatmentEffect(group, skill_id, delta, 0.5, 0.5 - delta, 2, 2, "" if delta == delta else "no_skill_arm")


def test_hard_tasks_are_successes_with_a_skill_where_the_plain_arm_has_none():
    turns = [
        *(("hard", "plain", False), ("hard", "plain", False), ("hard", "skill", True), ("hard", "skill", False)),
        *(("easy", "plain", False), ("easy", "plain", True), ("easy", "skill", True)),
        ("no plain arm", "skill", True),
    ]
    assert np.flatnonzero(gate_named("hard_tasks")(given(turns), SiriSettings())).tolist() == [2]
    lost = given(turns)
    lost.table.usable[5] = False  # the one plain success lost its environment
    assert np.flatnonzero(gate_named("hard_tasks")(lost, SiriSettings())).tolist() == [2, 6]


def test_without_gate_every_plain_turn_may_have_a_teacher():
    turns = [("helped", "plain", True), ("hurt", "plain", True), ("plain", "plain", True), ("helped", "skill", True)]
    effects = [effect("helped", 0.5), effect("hurt", -0.5), effect("plain", float("nan"), "")]
    for gate, expected in ((True, [0]), (False, [0, 1, 2])):
        settings = SiriSettings(internalization=InternalizationSettings(rows="plain_under_skill", gate=gate))
        assert np.flatnonzero(plain_turns(given(turns, effects), settings)).tolist() == expected


def test_a_gate_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="siri.internalization.source='math:gate': cannot be imported"):
        gate_named("math:gate")
