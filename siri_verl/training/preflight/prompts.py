# SPDX-License-Identifier: Apache-2.0
"""Starts the environment for some tasks of each panel and checks their first prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from siri_verl.envs.base import RAISED, REQUIRED_INFO_KEYS, UnknownTaskError
from siri_verl.envs.panels import Panel
from siri_verl.envs.registry import make_environment
from siri_verl.failures import ConfigError
from siri_verl.settings.schema import SiriSettings
from siri_verl.trajectory.failed_tasks import FailedTasks, FailedTasksError

FIRST_OBSERVATIONS = 8
"""Tasks per panel whose first prompt is rendered and measured."""


def check_first_prompts(config: DictConfig, settings: SiriSettings, panels: Mapping[str, Panel]) -> None:
    """The environment starts some tasks of each panel, and their first prompts fit into data.max_prompt_length.

    Args:
        config: verl's configuration.
        settings: its `siri:` block.
        panels: field that names the panel -> the panel.

    Raises:
        ConfigError: the tokenizer, the environment, a task or a prompt is not usable.
    """
    from siri_verl.training.preflight.reply_format import FormatCheck, check_context
    from siri_verl.trajectory.prompt_builder import PromptBuilder

    builder = PromptBuilder(
        load_tokenizer(config),
        settings.prompt,
        config.data.max_prompt_length,
        config.data.get("apply_chat_template_kwargs", {}),
    )
    format_check = FormatCheck(config, builder)
    name = settings.environment.name
    try:
        env = make_environment(name, **settings.environment.kwargs)
    except Exception as error:
        raise ConfigError(
            f"siri.environment.name={name!r} with siri.environment.kwargs={settings.environment.kwargs}: {error}"
        ) from error
    failed = FailedTasks(settings.rollout.max_failed_task_share, "siri.rollout.max_failed_task_share")
    try:
        for field, panel in panels.items():
            tasks = panel.task_ids
            for task in tasks[:: max(1, len(tasks) // FIRST_OBSERVATIONS)][:FIRST_OBSERVATIONS]:
                try:
                    observation, info = env.reset(seed=settings.seed, options={"task_id": task})
                except UnknownTaskError as error:
                    raise ConfigError(
                        f"{field}: task {task!r} cannot be started in environment {name!r} "
                        f"({type(error).__name__}: {error}); the panel must be made with the same "
                        f"siri.environment.kwargs, here {settings.environment.kwargs}"
                    ) from error
                except RAISED as error:
                    failed.failed(task, error)
                    continue
                failed.tried(task)
                absent = [key for key in REQUIRED_INFO_KEYS if key not in info]
                if absent:
                    raise ConfigError(
                        f"siri.environment.name={name!r}: the info of reset lacks {absent[0]!r}; `siri-verl check-env "
                        f"{name}` reports what training needs"
                    )
                format_check.look_at(f"task {task!r}", observation, info)
        failed.check()
    except FailedTasksError as error:
        raise ConfigError(f"siri.environment.name={name!r}: {error}") from error
    finally:
        env.close()
    format_check.finish()
    check_context(settings, builder)


def load_tokenizer(config: DictConfig) -> Any:
    """The policy's tokenizer, with its chat template as the rollout workers use it.

    Raises:
        ConfigError: there is none, or it has no chat template.
    """
    from verl.utils import hf_tokenizer
    from verl.utils.fs import copy_to_local

    model = config.actor_rollout_ref.model
    try:
        folder = copy_to_local(model.get("tokenizer_path") or model.path)
        tokenizer = hf_tokenizer(folder, trust_remote_code=model.trust_remote_code)
    except Exception as error:
        raise ConfigError(
            f"actor_rollout_ref.model.path={model.path!r}: no tokenizer could be loaded from there ({error}); give the "
            "folder of a Hugging Face model, or its name on the hub"
        ) from error
    tokenizer.chat_template = model.get("custom_chat_template") or tokenizer.chat_template
    if not tokenizer.chat_template:
        raise ConfigError(
            f"actor_rollout_ref.model.path={model.path!r}: its tokenizer has no chat template; use an "
            "instruction-tuned model, or set actor_rollout_ref.model.custom_chat_template"
        )
    return tokenizer
