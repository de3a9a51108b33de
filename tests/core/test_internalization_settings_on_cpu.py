# SPDX-License-Identifier: Apache-2.0
"""Combinations of settings that cannot work are refused, with field, value and fix."""

import math

import pytest

from siri_verl.core.internalization_settings import OPTIONS, InternalizationSettings
from siri_verl.failures import ConfigError

OWN = {"rows": "plain_under_skill"}
CONTROL = {"source": "self_imitation"}
TERM = {**OWN, "role": "advantage_term", "divergence": "reverse"}


@pytest.mark.parametrize("name", OPTIONS)
def test_unknown_options_are_refused(name):
    with pytest.raises(ConfigError, match=rf"siri.internalization.{name}='other': use {OPTIONS[name][0]}"):
        InternalizationSettings(**{name: "other"})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"divergence": "jsd"}, "divergence='jsd': needs distributions, and target=sampled .* use target=top_k"),
        ({"divergence": "reverse"}, "divergence='reverse': has a gradient of mean 0 .* role=advantage_term"),
        ({"target": "full"}, "divergence='nll': compares sampled tokens only, and target=full; use forward"),
        ({"target": "top_k", "divergence": "k3"}, "divergence='k3'"),
        ({"target": "top_k", "divergence": "jsd", "tail": False}, "tail=False: leaves no distribution"),
        ({"ratio_detached": False}, "ratio_detached=False: has no effect without ratio_cap"),
        ({"action_factor": 2.0}, "action_factor=2.0: has no effect with span=action"),
        ({"advantage_weights": False, "row_weight": "gap"}, "advantage_weights=False: .* row_weight=one"),
        ({"role": "advantage_term", "divergence": "reverse"}, "rows='skill_on_plain': role=advantage_term"),
        ({**OWN, "role": "advantage_factor"}, "divergence='nll': role=advantage_factor .* use divergence=reverse"),
        ({**TERM, "target": "full"}, "target='full': role=advantage_term .* use target=sampled"),
        ({**TERM, "ratio_cap": 2.0}, "ratio_cap=2.0: belongs to a term of the loss"),
        ({**TERM, "normalise": "rows"}, "normalise='rows': belongs to a term of the loss"),
        ({**TERM, "replaces_policy": True}, "replaces_policy=True: belongs to a term of the loss"),
        ({**OWN, "steps": 1}, "steps=1: is of rows=skill_on_plain, and rows=plain_under_skill"),
        ({**OWN, "replay": 8}, "replay=8"),
        ({"rows": "both", "context": "no_think"}, "context='no_think'"),
        ({**CONTROL, "divergence": "forward"}, "source='self_imitation': has no teacher, .* use divergence=nll"),
        ({**CONTROL, "token_weight": "shift"}, "use token_weight=one"),
        ({"steps": -1}, "steps=-1: use 0 or more"),
        ({"top_k": 0}, "top_k=0: use 1 or more"),
        ({"ratio_cap": math.inf}, "ratio_cap=inf: use null or a finite number > 0"),
        ({"jsd_alpha": 1.0}, "jsd_alpha=1.0: use a number between 0 and 1"),
        ({"gate_slope": 0.0}, "gate_slope=0.0"),
        ({"decay_updates": 0}, "decay_updates=0: use null or 1 or more"),
    ],
)  # fmt: skip
def test_impossible_combinations_are_refused(options, message):
    with pytest.raises(ConfigError, match=f"^siri.internalization.*{message}"):
        InternalizationSettings(**options)
