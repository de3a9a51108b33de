# SPDX-License-Identifier: Apache-2.0
"""What is checked before any worker starts, so that a wrong setting costs seconds and no accelerator time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig, OmegaConf

from siri_verl.envs.base import REQUIRED_INFO_KEYS
from siri_verl.envs.panels import AGENT_NAME, Panel, PanelError, check_disjoint
from siri_verl.envs.registry import UnknownEnvironmentError, get_environment, make_environment
from siri_verl.failures import ConfigError, require
from siri_verl.settings.read import gigpo_settings
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.training.estimator import check_estimator
from siri_verl.training.preflight.nodes import check_nodes, nodes_alive

FIRST_OBSERVATIONS = 8
"""Tasks per panel whose first prompt is rendered and measured."""
COLUMNS = ("task_id", "environment", "split")
GROUP_FREE = ("gae", "reinforce_plus_plus")
"""Estimators that do not compare the trajectories of a task."""
MANAGER = "siri_verl.rollout.worker.SiriAgentLoopManager"


def check_run(config: DictConfig, settings: SiriSettings) -> None:
    """Check a run's settings, panels and first prompts.

    Raises:
        PluginError: the plugin did not load fully, for example with an unsupported verl.
        ConfigError: the field, its value and what to do.
    """
    require()
    check_algorithm(config)
    check_request_seeds(config, settings)
    check_budget(config, settings)
    if settings.tasks == "dataset":
        tasks = dataset_tasks(config)
        check_enough_tasks(config, len(tasks.train))
        check_manager(config, f"siri.tasks={settings.tasks!r}")
        return
    check_environment_name(settings)
    check_nodes(config, settings, nodes_alive())
    files = {name: config.data[name.removeprefix("data.")] for name in ("data.train_files", "data.val_files")}
    rows = {field: read_rows(field, listed) for field, listed in files.items()}
    panels = {field: make_panel(field, files[field], rows[field], settings) for field in files}
    check_panels(config, panels["data.train_files"], panels["data.val_files"])
    check_agent_loop(config, [row for listed in rows.values() for row in listed])
    check_first_prompts(config, settings, panels)


def check_algorithm(config: DictConfig) -> None:
    """Estimator, group size, and rewards that reach the estimator."""
    name = config.algorithm.adv_estimator
    check_estimator(name)
    gigpo_settings(config.algorithm)
    size = config.actor_rollout_ref.rollout.n
    if size < 2 and name not in GROUP_FREE:
        raise ConfigError(
            f"actor_rollout_ref.rollout.n={size}: {name} compares the trajectories of one task; use at least 2"
        )
    if config.algorithm.use_kl_in_reward and name != "gae":
        raise ConfigError(
            f"algorithm.use_kl_in_reward=True: {name} takes its rewards from the environment's turns, so a KL term in "
            "token rewards would be lost; use algorithm.use_kl_in_reward=False actor_rollout_ref.actor.use_kl_loss=True"
        )


def check_budget(config: DictConfig, settings: SiriSettings) -> None:
    """Every environment step is counted."""
    if settings.budget.env_steps is not None and OmegaConf.select(config, "algorithm.filter_groups.enable"):
        raise ConfigError(
            f"siri.budget.env_steps={settings.budget.env_steps}: algorithm.filter_groups.enable=True drops groups "
            "before their environment steps are counted; set it to False, or the budget to null"
        )


def check_request_seeds(config: DictConfig, settings: SiriSettings) -> None:
    """The rollout engine takes a seed with each request."""
    if settings.rollout.request_seeds and config.actor_rollout_ref.rollout.name == "sglang":
        raise ConfigError(
            "siri.rollout.request_seeds=True: SGLang takes no parameter `seed` with a request; set it to False, as the "
            "group `sglang` does"
        )


def check_environment_name(settings: SiriSettings) -> None:
    """The environment is registered, or a Gymnasium id."""
    try:
        get_environment(settings.environment.name)
    except UnknownEnvironmentError as error:
        raise ConfigError(
            f"siri.environment.name={settings.environment.name!r}: {error}; use one of these names, or the id of an "
            "installed environment as `module:Name-v0`"
        ) from error


def read_rows(field: str, files: str | Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a panel's parquet files: task_id, environment, split, and agent_name where there is one.

    Raises:
        ConfigError: a file is missing or unreadable, lacks a column, or holds a row that names no task.
    """
    rows: list[dict[str, Any]] = []
    for file in [files] if isinstance(files, str) else list(files):
        path, where = Path(str(file)).expanduser(), f"{field}={str(file)!r}"
        if not path.is_file():
            raise ConfigError(f"{where}: no such file; `siri-verl data panel --help` shows how panels are written")
        try:
            table = pq.read_table(path)
        except Exception as error:
            raise ConfigError(
                f"{where}: not readable as parquet ({error}); write panels with `siri-verl data panel`"
            ) from error
        absent = [name for name in COLUMNS if name not in table.column_names]
        if absent:
            raise ConfigError(
                f"{where}: column {absent[0]!r} is missing (found {', '.join(table.column_names)}); write panels with "
                "`siri-verl data panel`"
            )
        wanted = [name for name in (*COLUMNS, "agent_name") if name in table.column_names]
        for number, row in enumerate(table.select(wanted).to_pylist()):
            wrong = [name for name in COLUMNS if not isinstance(row[name], str) or not (row[name] or name == "split")]
            if wrong:
                raise ConfigError(
                    f"{where}: row {number} has {wrong[0]}={row[wrong[0]]!r}; expected a non-empty text, write panels "
                    "with `siri-verl data panel`"
                )
            rows.append(row)
    return rows


def make_panel(field: str, files: str | Sequence[str], rows: Sequence[Mapping], settings: SiriSettings) -> Panel:
    """The rows as one panel of the configured environment.

    Raises:
        ConfigError: no rows, rows of another environment, or a task that stands twice.
    """
    name, where = settings.environment.name, f"{field}={files if isinstance(files, str) else list(files)!r}"
    other = sorted({row["environment"] for row in rows} - {name})
    if other:
        raise ConfigError(
            f"{where}: holds tasks of environment {other[0]!r}, but siri.environment.name={name!r}; set the one or "
            "give a panel of the other"
        )
    try:
        return Panel(name, tuple(row["task_id"] for row in rows), split=", ".join(sorted({r["split"] for r in rows})))
    except PanelError as error:
        raise ConfigError(f"{where}: {error}; write panels with `siri-verl data panel`") from error


def check_panels(config: DictConfig, train: Panel, validation: Panel) -> None:
    """Panels are disjoint, and the training panel fills a batch."""
    try:
        check_disjoint(train, validation)
    except PanelError as error:
        raise ConfigError(f"data.val_files={config.data.val_files!r}: {error}; give disjoint panels") from error
    check_enough_tasks(config, len(train.task_ids))


def check_enough_tasks(config: DictConfig, tasks: int) -> None:
    """The training tasks fill a batch."""
    size, limit = config.data.train_batch_size, config.data.get("train_max_samples", -1)
    tasks = tasks if limit < 0 else min(limit, tasks)
    if tasks < size:
        raise ConfigError(
            f"data.train_batch_size={size}: the training panel holds {tasks} tasks; use at most that many"
        )


def check_agent_loop(config: DictConfig, rows: Sequence[Mapping]) -> None:
    """Agent loop siri_env needs the worker that tells it arm and partition."""
    agent = config.actor_rollout_ref.rollout.agent
    if AGENT_NAME in {row.get("agent_name", agent.default_agent_loop) for row in rows}:
        check_manager(config, f"agent loop {AGENT_NAME!r}")


def check_manager(config: DictConfig, what: str) -> None:
    """The rollout manager is siri_verl's, whose workers deal sessions to the arms."""
    from verl.utils.import_utils import load_class_from_fqn

    from siri_verl.rollout.worker import SiriAgentLoopManager

    name = config.actor_rollout_ref.rollout.agent.get("agent_loop_manager_class")
    if not name or not issubclass(load_class_from_fqn(name, "AgentLoopManager"), SiriAgentLoopManager):
        raise ConfigError(
            f"actor_rollout_ref.rollout.agent.agent_loop_manager_class={name!r}: {what} runs under "
            f"siri_verl's worker; set it to {MANAGER} or a subclass"
        )


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


def check_first_prompts(config: DictConfig, settings: SiriSettings, panels: Mapping[str, Panel]) -> None:
    """Reset the environment for some tasks of each panel and measure the first prompt against
    data.max_prompt_length."""
    from siri_verl.trajectory.prompt_builder import PromptBuilder

    builder = PromptBuilder(
        load_tokenizer(config),
        settings.prompt,
        config.data.max_prompt_length,
        config.data.get("apply_chat_template_kwargs", {}),
    )
    name = settings.environment.name
    try:
        env = make_environment(name, **settings.environment.kwargs)
    except Exception as error:
        raise ConfigError(
            f"siri.environment.name={name!r} with siri.environment.kwargs={settings.environment.kwargs}: {error}"
        ) from error
    try:
        for field, panel in panels.items():
            tasks = panel.task_ids
            for task in tasks[:: max(1, len(tasks) // FIRST_OBSERVATIONS)][:FIRST_OBSERVATIONS]:
                try:
                    observation, info = env.reset(seed=settings.seed, options={"task_id": task})
                except Exception as error:
                    raise ConfigError(
                        f"{field}: task {task!r} cannot be started in environment {name!r} "
                        f"({type(error).__name__}: {error}); the panel must be made with the same "
                        f"siri.environment.kwargs, here {settings.environment.kwargs}"
                    ) from error
                absent = [key for key in REQUIRED_INFO_KEYS if key not in info]
                if absent:
                    raise ConfigError(
                        f"siri.environment.name={name!r}: the info of reset lacks {absent[0]!r}; `siri-verl check-env "
                        f"{name}` says what training needs"
                    )
                builder.first(str(info["task"]), observation, info["admissible_actions"], where=f"task {task!r}")
    finally:
        env.close()
