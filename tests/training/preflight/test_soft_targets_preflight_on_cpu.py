# SPDX-License-Identifier: Apache-2.0
"""Where soft targets cannot work, a run is refused with the reason."""

import json

import pytest

from siri_verl.core.internalization_settings import InternalizationSettings
from siri_verl.failures import ConfigError
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.skills import check_skills
from siri_verl.training.soft_targets import FULL_VOCABULARY, tokens_per_place

SOFT = ("siri.internalization.target=top_k", "siri.internalization.divergence=forward")


def check(*given):
    config = compose_run(["+siri=base", *given])
    check_skills(config, siri_settings(config))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("actor_rollout_ref.actor.strategy=megatron", "actor_rollout_ref.actor.strategy='megatron': siri.internaliz"),
        ("actor_rollout_ref.model.use_fused_kernels=true", "actor_rollout_ref.model.use_fused_kernels=True: siri.int"),
        ("actor_rollout_ref.actor.pad_to_length=true", "actor_rollout_ref.actor.pad_to_length=True: siri.internaliz"),
        (
            "actor_rollout_ref.actor.fsdp_config.pad_to_length=true",
            "actor_rollout_ref.actor.fsdp_config.pad_to_length=True: siri.internalization.target=top_k needs the logi",
        ),
        (
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2",
            "actor_rollout_ref.actor.ulysses_sequence_parallel_size=2: siri.internalization.target=top_k needs",
        ),
    ],
)
def test_engines_without_the_logits_of_whole_sequences_are_refused(given, says):
    with pytest.raises(ConfigError) as error:
        check(given, *SOFT)
    assert str(error.value).startswith(says)
    check(given)
    check(*SOFT)


def test_a_large_vocabulary_is_refused_for_the_full_target(tmp_path):
    def check_with(size, target):
        (tmp_path / "config.json").write_text(json.dumps({"vocab_size": size}))
        given = (f"siri.internalization.target={target}", "siri.internalization.divergence=forward")
        check(f"actor_rollout_ref.model.path={tmp_path}", *given)

    for size, target in ((FULL_VOCABULARY, "full"), (FULL_VOCABULARY + 1, "top_k")):
        check_with(size, target)
    with pytest.raises(ConfigError, match="siri.internalization.target='full': the model's vocabulary of 2049 tokens"):
        check_with(FULL_VOCABULARY + 1, "full")


def test_a_pass_refuses_a_vocabulary_that_was_not_known_before():
    full = InternalizationSettings(target="full", divergence="forward")
    assert tokens_per_place(full, FULL_VOCABULARY) == FULL_VOCABULARY
    with pytest.raises(ValueError, match="siri.internalization.target=full: the model's vocabulary has 2049 tokens"):
        tokens_per_place(full, FULL_VOCABULARY + 1)
    few = InternalizationSettings(target="top_k", top_k=40, divergence="forward")
    assert (tokens_per_place(few, 30), tokens_per_place(few, 50)) == (30, 40)
