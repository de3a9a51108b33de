# SPDX-License-Identifier: Apache-2.0
"""The configuration groups on verl's own config: they compose, verl's checks accept them, and the published numbers
stand."""

import copy

import pytest
from omegaconf import open_dict
from support.tiny_model import make_tiny_model
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.planning.compose import compose_run
from siri_verl.settings.read import gigpo_settings, siri_settings
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.preflight.settings import check_settings

STORE = "siri.environment.kwargs.store=/a/store"
GAMES = "siri.environment.kwargs.data=/some/games"
# What a run of the bare `base` group must name itself: rollout engine and micro-batches.
OWN = ["actor_rollout_ref.rollout.name=vllm", "actor_rollout_ref.actor.use_dynamic_bsz=True"]
RUNS = {
    "base": ["+siri=base", *OWN],
    "webshop on GPUs": ["+siri=[webshop,gpu]", STORE],
    "webshop on GPUs with Megatron": ["+siri=[webshop,gpu_megatron]", STORE],
    "webshop on a CPU": ["+siri=[webshop,cpu,cpu_small]", STORE],
    "alfworld on GPUs": ["+siri=[alfworld,gpu]", GAMES],
    "alfworld on GPUs with Megatron": ["+siri=[alfworld,gpu_megatron]", GAMES],
    "alfworld on a CPU": ["+siri=[alfworld,cpu,cpu_small,alfworld_demo]", GAMES],
    "an environment of one's own on GPUs": ["+siri=[own,gpu]", "siri.environment.name=toy"],
    "an environment of one's own": ["+siri=own", "siri.environment.name=toy", "actor_rollout_ref.rollout.name=vllm"],
    "toy on a CPU": ["+siri=[base,cpu,cpu_small]"],
    "toy on a cluster of CPU nodes": ["+siri=[base,cpu,cpu_small,cpu_cluster]"],
    "toy on vLLM on a CPU": ["+siri=[base,cpu,cpu_small,vllm_cpu]"],
}


def composed(*overrides):
    return compose_run(overrides)


@pytest.fixture(params=RUNS, ids=list(RUNS))
def config(request):
    return composed(*RUNS[request.param])


def test_verls_checks_and_dataclasses_accept_every_group(config):
    validate_config(config, need_reference_policy(config), need_critic(config))
    # as verl/workers/engine_workers.py makes the reference worker's settings from the same block
    ref = copy.deepcopy(config.actor_rollout_ref.ref)
    with open_dict(ref):
        ref.ppo_mini_batch_size = config.actor_rollout_ref.actor.ppo_mini_batch_size
        for name in ("micro_batch_size", "micro_batch_size_per_gpu", "max_token_len_per_gpu"):
            ref[f"ppo_{name}"] = ref.pop(f"log_prob_{name}", None)
        ref.use_dynamic_bsz = ref.pop("log_prob_use_dynamic_bsz", False)
    reference = omega_conf_to_dataclass(ref)
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    rollout = omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    assert reference.strategy == actor.strategy
    assert rollout.prompt_length == config.data.max_prompt_length
    assert rollout.response_length == config.data.max_response_length
    assert rollout.agent.default_agent_loop == "siri_env"


def test_our_own_checks_accept_every_group(config):
    settings = siri_settings(config)
    assert isinstance(settings, SiriSettings) and isinstance(gigpo_settings(config.algorithm), GigpoSettings)
    check_settings(config, settings)
    assert config.trainer.v1.trainer_mode == "siri"
    assert config.actor_rollout_ref.rollout.agent.agent_loop_manager_class.endswith("SiriAgentLoopManager")


def test_base_spells_out_the_defaults_of_every_setting():
    config = composed("+siri=base")
    assert siri_settings(config) == SiriSettings()
    assert gigpo_settings(config.algorithm) == GigpoSettings()
    assert set(config.siri) == set(vars(SiriSettings()))
    for name, block in vars(SiriSettings()).items():
        if hasattr(block, "__dataclass_fields__"):
            assert set(config.siri[name]) == set(block.__dataclass_fields__), name


def test_published_webshop_settings():
    """The table of published settings of arXiv 2505.10978's reference code, column WebShop."""
    config = composed(*RUNS["webshop on GPUs"])
    actor, rollout, settings = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, siri_settings(config)
    assert (config.data.train_batch_size, rollout.n) == (16, 8)
    assert settings.rollout.max_turns == settings.environment.kwargs["max_turns"] == 15
    assert (config.data.max_prompt_length, config.data.max_response_length) == (4096, 512)
    assert (actor.optim.lr, actor.clip_ratio, actor.entropy_coeff) == (1e-6, 0.2, 0.001)
    assert (actor.use_kl_loss, actor.kl_loss_coef, actor.kl_loss_type) == (True, 0.01, "low_var_kl")
    assert config.algorithm.use_kl_in_reward is False
    assert (actor.ppo_mini_batch_size * rollout.n, actor.ppo_micro_batch_size_per_gpu) == (64, 8)
    assert settings.update.mini_batches is None, "verl's own rule: that many rows per optimizer step"
    assert (rollout.temperature, rollout.val_kwargs.temperature, rollout.val_kwargs.do_sample) == (1.0, 0.4, True)
    assert config.trainer.total_training_steps == 150
    assert (settings.reward.kind, settings.reward.success_reward) == ("success", 10.0)
    assert settings.prompt.history_length == 2
    assert settings.task_type.kind == "webshop"
    gigpo = gigpo_settings(config.algorithm)
    assert (gigpo.gamma, gigpo.step_weight, gigpo.invalid_penalty, gigpo.norm) == (0.95, 1.0, 0.1, "mean")
    assert (gigpo.episode_stats, gigpo.similarity) == ("per_step", None)


def test_published_alfworld_settings():
    """The same table, column ALFWorld; what it shares with WebShop is compared with that."""
    config, webshop = composed(*RUNS["alfworld on GPUs"]), composed(*RUNS["webshop on GPUs"])
    actor, rollout, settings = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout, siri_settings(config)
    assert settings.rollout.max_turns == settings.environment.kwargs["max_turns"] == 50
    assert (config.data.max_prompt_length, config.data.max_response_length) == (2048, 512)
    assert actor.ppo_mini_batch_size * rollout.n == 256
    assert gigpo_settings(config.algorithm).norm == "mean_std"
    assert settings.task_type.kind == "alfworld"
    same = ("optim", "clip_ratio", "entropy_coeff", "use_kl_loss", "kl_loss_coef", "kl_loss_type")
    assert all(actor[name] == webshop.actor_rollout_ref.actor[name] for name in same)
    assert config.data.train_batch_size == webshop.data.train_batch_size
    assert rollout.val_kwargs == webshop.actor_rollout_ref.rollout.val_kwargs
    assert (rollout.n, rollout.temperature) == (8, 1.0) and config.trainer.total_training_steps == 150
    for block in ("reward", "update", "phases", "internalization", "mining", "utility"):
        assert config.siri[block] == webshop.siri[block], block


def test_the_demo_shop_names_departments_instead_of_broad_kinds_of_goods():
    settings = siri_settings(composed("+siri=[webshop,cpu,cpu_small,webshop_demo]", STORE))
    assert settings.task_type.kind == "siri_verl.demos.webshop.task_types:department"


def test_the_generated_games_are_played_as_their_small_model_learned_them():
    from siri_verl.demos.alfworld import settings as demo

    config = composed(*RUNS["alfworld on a CPU"])
    settings = siri_settings(config)
    assert settings.rollout.max_turns == settings.environment.kwargs["max_turns"] == demo.MAX_TURNS <= 12
    assert (settings.prompt.template, settings.prompt.history_length) == (demo.TEMPLATE, demo.HISTORY_LENGTH)
    assert (config.data.train_batch_size, config.actor_rollout_ref.rollout.n) == (4, 4)


def test_gpu_presets_run_vllm_on_the_engine_they_name():
    fsdp, megatron = composed(*RUNS["webshop on GPUs"]), composed(*RUNS["webshop on GPUs with Megatron"])
    for config, strategy in ((fsdp, "fsdp2"), (megatron, "megatron")):
        parts = config.actor_rollout_ref
        assert (parts.actor.strategy, parts.ref.strategy, parts.rollout.name) == (strategy, strategy, "vllm")
        assert config.trainer.device == "cuda"
    # the engine is the only difference
    for key in ("data", "siri", "algorithm", "trainer"):
        assert fsdp[key] == megatron[key], key


def test_cpu_preset_is_float32_without_an_accelerators_parts(tmp_path):
    config = composed(*RUNS["webshop on a CPU"], f"actor_rollout_ref.model.path={make_tiny_model(tmp_path)}")
    model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
    assert model.hf_config.model_type == "qwen2" and model.tokenizer.chat_template
    engine = omega_conf_to_dataclass(config.actor_rollout_ref.actor).engine
    assert set(engine.mixed_precision.values()) == {"fp32"} and engine.use_torch_compile is False
    assert config.actor_rollout_ref.rollout.name == "light" and config.trainer.device == "cpu"
    assert config.ray_kwargs.ray_init.num_gpus == config.trainer.n_gpus_per_node == 1
    assert siri_settings(config).rollout.request_seeds, "so that a run repeats exactly"


@pytest.mark.parametrize("ranks", [1, 2])
def test_logical_devices_follow_the_number_of_trainer_processes(ranks):
    config = composed(*RUNS["toy on a CPU"], f"trainer.n_gpus_per_node={ranks}")
    validate_config(config, need_reference_policy(config), need_critic(config))
    assert config.ray_kwargs.ray_init.num_gpus == ranks
