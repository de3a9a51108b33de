# SPDX-License-Identifier: Apache-2.0
"""What the trainer is made of beside verl's parts, from the configuration."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from siri_verl.envs.registry import make_environment
from siri_verl.settings.read import gigpo_settings
from siri_verl.settings.schema import SiriSettings
from siri_verl.skills.task_type import task_typer
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.training.endpoint_writer import EndpointWriter
from siri_verl.training.method import SkillRun
from siri_verl.training.planner import DatasetPlanner, GroupPlanner, Planner
from siri_verl.training.policy_writer import PolicyWriter
from siri_verl.trajectory.prompt_builder import PromptBuilder


def make_planner(config: DictConfig, settings: SiriSettings, tokenizer: Any) -> Planner:
    """Names the type and the skill of each task: over the run's environment, or over the dataset's rows."""
    data, typer = config.data, task_typer(settings.task_type)
    if settings.tasks == "dataset":
        return DatasetPlanner(dataset_tasks(config).all, typer)
    prompts = PromptBuilder(
        tokenizer, settings.prompt, data.max_prompt_length, data.get("apply_chat_template_kwargs", {})
    )
    env = make_environment(settings.environment.name, **settings.environment.kwargs)
    return GroupPlanner(env, prompts, typer, settings.seed)


def make_skill_run(config: DictConfig, settings: SiriSettings, tokenizer: Any) -> SkillRun:
    """SIRI's state over the run. Weights are scaled by how the chosen estimator normalises."""
    norm = gigpo_settings(config.algorithm).norm
    if config.algorithm.adv_estimator == "grpo":
        norm = "mean_std" if config.algorithm.get("norm_adv_by_std_in_grpo", True) else "mean"
    planner = make_planner(config, settings, tokenizer)
    return SkillRun(settings, config.actor_rollout_ref.rollout.n, norm, planner, tokenizer.all_special_tokens)


def make_writer(
    config: DictConfig, settings: SiriSettings, client: Any, tokenizer: Any
) -> PolicyWriter | EndpointWriter:
    """Asks the rollout servers' current weights for skills, or the endpoint of `siri.mining.endpoint`; sampled as
    rollouts are, and seeded where they are."""
    rollout, data = config.actor_rollout_ref.rollout, config.data
    seed = settings.seed if settings.rollout.request_seeds else None
    if settings.mining.endpoint.base_url is not None:
        return EndpointWriter(
            settings.mining.endpoint.endpoint(),
            rollout.temperature,
            settings.mining.max_tokens,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            seed=seed,
        )
    return PolicyWriter(
        client,
        tokenizer,
        {"temperature": rollout.temperature, "top_p": rollout.top_p, "top_k": rollout.top_k, "logprobs": False},
        settings.mining.max_tokens,
        data.max_prompt_length + data.max_response_length - settings.mining.max_tokens,
        seed,
        data.get("apply_chat_template_kwargs", {}),
    )
