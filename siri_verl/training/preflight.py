# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""What is checked before any worker starts, so that a wrong setting costs seconds and no accelerator time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from omegaconf import DictConfig

from siri_verl.config import ConfigError, SiriConfig, gigpo_config
from siri_verl.core.gigpo import check_group_size
from siri_verl.envs.registry import make_environment
from siri_verl.training.estimator import check_estimator

FIRST_OBSERVATIONS = 8
"""Tasks per panel whose first prompt is rendered and measured."""
REQUIRED_COLUMNS = ("task_id", "environment", "split")


def check_run(config: DictConfig, settings: SiriConfig) -> None:
    """Check a run's settings, panels and first prompts.

    Raises:
        ConfigError: the field, its value and what to do.
    """
    check_algorithm(config)
    train = read_panel("data.train_files", config.data.train_files)
    validation = read_panel("data.val_files", config.data.val_files)
    check_panels(config, settings, train, validation)
    check_first_prompts(config, settings, {"data.train_files": train, "data.val_files": validation})


def check_algorithm(config: DictConfig) -> None:
    """Estimator, group size, and rewards that reach the estimator."""
    name = config.algorithm.adv_estimator
    check_estimator(name)
    gigpo_config(config.algorithm)
    if name in ("gigpo", "grpo", "rloo"):
        try:
            check_group_size(config.actor_rollout_ref.rollout.n, "actor_rollout_ref.rollout.n")
        except ValueError as error:
            raise ConfigError(str(error)) from error
    if name == "gigpo" and config.algorithm.use_kl_in_reward:
        raise ConfigError(
            "algorithm.use_kl_in_reward=True: gigpo takes its rewards from the environment's turns, so a KL term in "
            "token rewards "
            "would be lost; use actor_rollout_ref.actor.use_kl_loss=True"
        )


def read_panel(field: str, files: str | Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a panel's parquet files: task_id, environment, split.

    Raises:
        ConfigError: a file is missing, unreadable, empty, or lacks a column.
    """
    rows: list[dict[str, Any]] = []
    for file in [files] if isinstance(files, str) else list(files):
        if not Path(file).expanduser().exists():
            raise ConfigError(
                f"{field}={file!r}: no such file; `siri-verl data panel --help` shows how panels are made"
            )
        try:
            table = pq.read_table(Path(file).expanduser())
        except Exception as error:
            raise ConfigError(f"{field}={file!r}: not readable as parquet ({error})") from error
        absent = [name for name in REQUIRED_COLUMNS if name not in table.column_names]
        if absent:
            raise ConfigError(
                f"{field}={file!r}: column {absent[0]!r} is missing (found {', '.join(table.column_names)}); write "
                f"panels with "
                "`siri-verl data panel`"
            )
        rows += table.select(list(REQUIRED_COLUMNS)).to_pylist()
    if not rows:
        raise ConfigError(f"{field}={files!r}: holds no task")
    return rows


def check_panels(config: DictConfig, settings: SiriConfig, train: list[dict], validation: list[dict]) -> None:
    """Panels are of the configured environment, large enough, and disjoint."""
    for field, rows in (("data.train_files", train), ("data.val_files", validation)):
        wrong = sorted({row["environment"] for row in rows} - {settings.environment.name})
        if wrong:
            raise ConfigError(
                f"{field}: holds tasks of environment {wrong[0]!r}, but "
                f"siri.environment.name={settings.environment.name!r}"
            )
    shared = sorted({row["task_id"] for row in train} & {row["task_id"] for row in validation})
    if shared:
        raise ConfigError(
            f"data.val_files: {len(shared)} tasks are also in data.train_files (first: {shared[0]!r}); panels must "
            f"be disjoint"
        )
    size = config.data.train_batch_size
    if len(train) < size:
        raise ConfigError(
            f"data.train_batch_size={size}: the training panel holds {len(train)} tasks; use at most that many"
        )


def check_first_prompts(config: DictConfig, settings: SiriConfig, panels: dict[str, list[dict]]) -> None:
    """Reset the environment for some tasks of each panel and measure the first prompt against
    data.max_prompt_length."""
    from verl.utils import hf_tokenizer

    from siri_verl.rollout.prompt_builder import PromptBuilder

    tokenizer = hf_tokenizer(config.actor_rollout_ref.model.path, trust_remote_code=config.data.trust_remote_code)
    builder = PromptBuilder(
        tokenizer, settings.prompt, config.data.max_prompt_length, config.data.get("apply_chat_template_kwargs", {})
    )
    try:
        env = make_environment(settings.environment.name, **settings.environment.kwargs)
    except Exception as error:
        raise ConfigError(f"siri.environment.name={settings.environment.name!r}: {error}") from error
    try:
        for field, rows in panels.items():
            for row in rows[:: max(1, len(rows) // FIRST_OBSERVATIONS)][:FIRST_OBSERVATIONS]:
                try:
                    observation, info = env.reset(seed=settings.seed, options={"task_id": row["task_id"]})
                except KeyError as error:
                    raise ConfigError(
                        f"{field}: task {row['task_id']!r} is not in the environment ({error})"
                    ) from error
                builder.first(
                    str(info["task"]), observation, info["admissible_actions"], where=f"task {row['task_id']!r}"
                )
    finally:
        env.close()
