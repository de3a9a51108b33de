# SPDX-License-Identifier: Apache-2.0
"""A model whose attention is not computed by light server or CPU engine is refused before anything starts."""

import pytest
from transformers import Gemma2Config, MistralConfig

from siri_verl.failures import ConfigError
from siri_verl.training.preflight.model import check_attention


@pytest.mark.parametrize(
    "overrides, says",
    [
        ((), "the light server cannot run it, for its attention scores are capped"),
        (
            ("actor_rollout_ref.rollout.name=vllm",),
            "rows cannot be packed on a CPU, for its attention scores are capped",
        ),
        (("actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.model.use_remove_padding=False"), None),
        (("actor_rollout_ref.rollout.name=vllm", "trainer.device=cuda"), None),
    ],
)
def test_capped_scores_are_refused_where_they_are_not_computed(toy_config, tmp_path, overrides, says):
    Gemma2Config().save_pretrained(tmp_path)
    config = toy_config(f"actor_rollout_ref.model.path={tmp_path}", *overrides)
    if says is None:
        check_attention(config)
    else:
        with pytest.raises(ConfigError) as error:
            check_attention(config)
        assert str(error.value).startswith(f"actor_rollout_ref.model.path='{tmp_path}': {says}")


def test_a_sliding_window_is_computed_and_a_folder_without_a_configuration_is_named(toy_config, tmp_path):
    MistralConfig(sliding_window=8).save_pretrained(tmp_path / "mistral")
    check_attention(toy_config(f"actor_rollout_ref.model.path={tmp_path}/mistral"))
    with pytest.raises(ConfigError, match="no configuration could be loaded"):
        check_attention(toy_config(f"actor_rollout_ref.model.path={tmp_path}"))
