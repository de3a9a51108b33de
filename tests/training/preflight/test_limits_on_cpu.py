# SPDX-License-Identifier: Apache-2.0
"""What cannot work, or would end a run early, is refused before it starts."""

import pytest

from siri_verl.failures import ConfigError
from siri_verl.settings.read import siri_settings
from siri_verl.training.preflight.settings import check_settings

ROLLOUT, MODEL = "actor_rollout_ref.rollout", "actor_rollout_ref.model"
ALONE = {
    "actor": ["actor_rollout_ref.actor.ppo_max_token_len_per_gpu=64"],
    "log_prob": [f"{ROLLOUT}.log_prob_max_token_len_per_gpu=64"],
    "path": ["trainer.resume_mode=resume_path", "trainer.resume_from_path=/nowhere/global_step_3"],
    "epochs": ["trainer.total_epochs=6"],
    "epochs of single tasks": ["trainer.total_epochs=6", "data.gen_batch_size=1"],
    "epochs of a sample": ["trainer.total_epochs=39", "data.train_max_samples=15"],
    "no epoch": ["trainer.total_epochs=0", "trainer.total_training_steps=null"],
    "budget": ["trainer.total_epochs=6", "trainer.total_training_steps=null", "siri.budget.env_steps=20000"],
    "phase": ["trainer.total_epochs=6", "trainer.total_training_steps=null", "siri.budget.last_phase=mining"],
}
"""Checked before the run alone: `siri-verl plan` lists the first two itself and reads no files."""

SETTINGS = [
    (["data.max_prompt_length=0"], "data.max_prompt_length=0: use at least 1"),
    (["data.max_prompt_length=-1"], "data.max_prompt_length=-1: use at least 1"),
    (["data.max_response_length=0"], "data.max_response_length=0: use at least 1"),
    (["data.max_prompt_length=4096"], "4128 tokens do not fit; the model has 1024 positions"),
    ([f"{ROLLOUT}.max_model_len=64"], f"{ROLLOUT}.max_model_len=64: .* use at least 544"),
    (["trainer.resume_mode=resume"], "trainer.resume_mode='resume': .*use one of auto, disable, resume_path"),
    (["trainer.logger=[consol]"], "trainer.logger='consol': did you mean console"),
    ([f"{ROLLOUT}.name=lite"], f"{ROLLOUT}.name='lite': did you mean light"),
    ([f"{ROLLOUT}.dtype=float16"], f"{ROLLOUT}.dtype='float16': the light server knows bf16, bfloat16"),
    ([f"{ROLLOUT}.tensor_model_parallel_size=2"], f"{ROLLOUT}.tensor_model_parallel_size=2: .*set it to 1"),
    ([f"{MODEL}.lora_rank=8"], f"{MODEL}.lora_rank=8: the light server loads no adapter; .*lora.merge=True"),
    ([f"{ROLLOUT}.engine_kwargs.light.num_thread=2"], "light.num_thread=2: .*did you mean num_threads"),
    (["trainer.val_only=True", "trainer.val_before_train=False"], "val_before_train=False: .* verl would train"),
    (
        ["siri.budget.last_phase=warm_up", "siri.phases.fixed=mining"],
        "last_phase='warm_up': .*fixed='mining' comes later",
    ),
    (["siri.budget.last_phase=mining", "siri.phases.skip=[mining]"], "last_phase='mining': .*leaves it out"),
    (["siri.budget.env_steps=1000000"], "env_steps=1000000: trainer.total_training_steps=40 can play 20480 turns"),
    (
        ["siri.budget.last_phase=mining"],
        "last_phase='mining': it can last until step 90 .*, and trainer.total_training_steps=40 would end the run",
    ),
    (["siri.budget.last_phase=mining", "siri.phases.skip=[warm_up]"], "it can last until step 60"),
    (["siri.environment.kwargs.max_turns=6"], "kwargs.max_turns=6: siri.rollout.max_turns=8, and the smaller"),
    (["algorithm.gamma=0.95"], "algorithm.gamma=0.95: gigpo does not read it; set algorithm.gigpo.gamma=0.95"),
    (["algorithm.gigpo.gama=0.9"], "algorithm.gigpo.gama: no such setting; did you mean gamma"),
    (["algorithm.adv_estimator=ppo"], "algorithm.adv_estimator='ppo': no such estimator; did you mean gae"),
    (["algorithm.adv_estimator=GRPO"], "did you mean grpo"),
    (["algorithm.adv_estimator=gae", "siri.phases.fixed=warm_up"], "critic.model.path='~/models/.*give it a model"),
]


@pytest.mark.parametrize(("overrides", "message"), SETTINGS)
def test_settings_are_refused_before_the_start_and_by_plan(toy_config, overrides, message):
    config = toy_config(*overrides)
    with pytest.raises(ConfigError, match=message):
        check_settings(config, siri_settings(config))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("actor", "ppo_max_token_len_per_gpu=64: a row can have 544 tokens; use at least 544"),
        ("log_prob", "log_prob_max_token_len_per_gpu=64: a row can have 544 tokens"),
        ("path", "trainer.resume_from_path='/nowhere/global_step_3': .*give one that exists"),
        ("epochs", "trainer.total_epochs=6: 36 steps .6 an epoch. end the run before .*=40.* use at least 7"),
        ("epochs of single tasks", "trainer.total_epochs=6: 36 steps"),
        ("epochs of a sample", "trainer.total_epochs=39: 39 steps .1 an epoch.* use at least 40"),
        ("no epoch", "trainer.total_epochs=0: use at least 1"),
        ("budget", "siri.budget.env_steps=20000: trainer.total_epochs=6 .36 steps. can play 18432 turns at most"),
        (
            "phase",
            "siri.budget.last_phase='mining': it can last until step 90 .*total_epochs=6 .36 steps. would",
        ),
    ],
)
def test_the_run_is_refused_before_the_start(check, name, message):
    with pytest.raises(ConfigError, match=message):
        check(*ALONE[name])


def test_limits_that_reach_what_is_asked_for_pass(check):
    phases = ("siri.budget.last_phase=mining", "siri.phases.warm_up_max_steps=10", "siri.phases.mining_max_steps=30")
    check("trainer.total_epochs=7", "siri.budget.env_steps=20480", *phases, "siri.environment.kwargs.max_turns=8",
          f"{ROLLOUT}.max_model_len=544", "trainer.val_only=True")  # fmt: skip
    check("trainer.total_epochs=6", "trainer.total_training_steps=null", "siri.budget.env_steps=18432")
    # a phase that never ends is no bound
    check("siri.budget.last_phase=mining", "siri.phases.skip=[internalization]")
    check("siri.budget.last_phase=internalization")
    check("siri.budget.last_phase=mining", "siri.phases.fixed=mining")


def test_merged_adapters_and_scaled_positions_pass(toy_config):
    given = [f"{MODEL}.lora_rank=8", f"{MODEL}.lora.merge=True", "data.max_prompt_length=4096"]
    config = toy_config(*given, f"{MODEL}.override_config.max_position_embeddings=8192")
    check_settings(config, siri_settings(config))
    config = toy_config(*given, f"{MODEL}.override_config.rope_scaling={{rope_type: yarn, factor: 8.0}}")
    check_settings(config, siri_settings(config))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.use_kl_in_reward=True"], "algorithm.use_kl_in_reward=True: gigpo takes its rewards"),
        ([f"{ROLLOUT}.n=1"], "actor_rollout_ref.rollout.n=1: gigpo compares"),
        (["algorithm.gigpo.gama=0.9"], "algorithm.gigpo.gama: no such setting"),
        (["algorithm.gamma=0.95"], "algorithm.gamma=0.95: gigpo does not read it"),
    ],
)
def test_verls_own_trainers_refuse_the_same_with_gigpo(toy_config, overrides, message):
    """`PPOTrainer.__init__` is where every V1 trainer of verl starts."""
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    config = toy_config(*overrides)
    config.trainer.v1.trainer_mode = "sync"
    with pytest.raises(ConfigError, match=message):
        PPOTrainerSync(config)
    del config["siri"]
    with pytest.raises(ConfigError, match=message):
        check_settings(config, None)
