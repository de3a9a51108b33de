# SPDX-License-Identifier: Apache-2.0
"""A method of one's own: a token weight, a gate and a life-cycle rule, named by their paths in run.sh."""

import math

import numpy as np

from siri_verl.core.rules import ACTIVE, CANDIDATE, RETIRED, Verdict
from siri_verl.training.gates import shown_skill


def doubled(student, teacher):
    """(rows, tokens) weights: 1 on tokens that the skill makes at least twice as likely, else 0."""
    return (teacher - student >= math.log(2)).to(student.dtype)


def solved_and_rare(given, settings):
    """(rows,) bool: turns of solved trajectories with a skill, where at most half of the plain arm solved the task."""
    rare = [given.effects[group].plain_mean <= 0.5 for group in given.table.group.tolist()]
    return shown_skill(given.table) & given.table.success & np.array(rare, dtype=bool)


def sign_rule(state, settings, promotions):
    """A skill that helped in clearly more groups than it hurt becomes active; one that did not is retired."""
    helped, hurt = sum(delta > 0 for delta in state.deltas), sum(delta < 0 for delta in state.deltas)
    if state.groups < settings.n_eval:
        return None
    if state.status == CANDIDATE and helped - hurt >= 2:
        return Verdict(ACTIVE, f"helped in {helped} groups, hurt in {hurt}")
    if helped < hurt:
        return Verdict(RETIRED, f"helped in {helped} groups, hurt in {hurt}")
    return None
