# SPDX-License-Identifier: Apache-2.0
"""A run's skills tested again: its settings, its bank, a checkpoint, and a panel of fresh tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from omegaconf import DictConfig

from siri_verl.core.seeding import derive_seed
from siri_verl.envs.base import UnknownTaskError
from siri_verl.envs.panels import Panel, PanelError
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import TokenAgent
from siri_verl.evaluation.checks import check_device, check_sampling
from siri_verl.evaluation.episodes import EpisodePlayer, PlayedEpisode
from siri_verl.evaluation.retest import RetestError, RetestReport, check_fresh, choose_skills, retest
from siri_verl.light.policy import LightPolicy, Sampling
from siri_verl.runs.config import load_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.models import find_model, model_folder
from siri_verl.settings.read import siri_settings
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank
from siri_verl.skills.task_type import task_typer
from siri_verl.trajectory.prompt_builder import PromptBuilder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetestOptions:
    """What to test, on which model. None takes the run's value."""

    panel: Path
    """Panel of fresh tasks, JSON or parquet."""
    model: Path | None = None
    """Hugging Face folder or checkpoint; None: the run's newest checkpoint."""
    bank: Path | None = None
    """Bank file; None: the run's."""
    skill_ids: tuple[str, ...] = ()
    """Skills to test; none: the active ones."""
    ever_active: bool = False
    """Without names: also skills that were active and are retired now."""
    pairs: int = 64
    """Pairs per skill at least."""
    seed: int | None = None
    """Environment and request seeds derive from it."""
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    dtype: str | None = None
    """Precision of the model."""
    device: str = "cpu"
    concurrent: int = 256
    """Episodes in play at a time."""
    level: float = 0.95
    """Coverage of the intervals."""
    overrides: tuple[str, ...] = ()
    """Settings of the run that have changed since, as key.path=value."""


def retest_run(
    run: Path, options: RetestOptions, on_end: Callable[[PlayedEpisode], None] = lambda episode: None
) -> tuple[RetestReport, dict[str, Any]]:
    """Re-test a run's skills.

    Args:
        run: the run's folder.
        options: what, and on which model.
        on_end: called after each episode.

    Returns:
        (the report, what it is about: model, bank, panel, sampling, seed). Without a skill to test the report is
        empty and no model is loaded.

    Raises:
        FileNotFoundError, BankFileError, ModelFolderError, PanelError, RetestError, ConfigError, ValueError: what is
            missing or does not fit, by name.
    """
    check_device(options.device)
    config = load_config(run, options.overrides)
    settings, rollout = siri_settings(config), config.actor_rollout_ref.rollout
    environment = settings.environment
    if settings.tasks == "dataset":
        raise RetestError(
            f"{run}: siri.tasks='dataset': its tasks are played by an agent loop of its own, which runs in the trainer "
            "alone; the evidence of the run itself is what `siri-verl skills show` prints"
        )
    bank_path = options.bank or RunFolder(run).bank
    bank = load_bank(bank_path, ANY_LENGTH)
    skills = choose_skills(bank, options.skill_ids, options.ever_active)
    task_ids = panel_tasks(options.panel, environment.name)
    check_fresh(task_ids, {"were trained on": training_tasks(config)})
    seed = settings.seed if options.seed is None else options.seed
    given = {name: getattr(options, name) for name in ("temperature", "top_p", "top_k")}
    sampling = Sampling(**{name: rollout[name] if value is None else value for name, value in given.items()})
    check_sampling(sampling)
    about = {
        "run": str(run),
        "bank": str(bank_path),
        "panel": str(options.panel),
        "environment": environment.name,
        "sampling": asdict(sampling),
        "seed": seed,
        "pairs_asked": options.pairs,
    }

    def make_env() -> Any:
        return make_environment(environment.name, **environment.kwargs)

    if not skills:
        return retest(bank, [], {}, lambda plans: [], pairs=options.pairs, seed=seed, level=options.level), about
    source = find_model(options.model or run)
    dtype = options.dtype or str(rollout.dtype)
    how = "merged from shards, in bfloat16" if source.shards else "as saved"
    about["model"] = {"name": source.name, "folder": str(source.folder), "weights": how, "dtype": dtype}
    try:
        type_of = task_types(make_env(), task_ids, task_typer(settings.task_type), seed)
    except UnknownTaskError as error:
        store = ", ".join(f"{name}={value}" for name, value in environment.kwargs.items())
        raise RetestError(
            f"--panel {options.panel}: {error}; the run plays {environment.name} with {store or 'no settings'}: give "
            "a panel that `siri-verl data panel` made of the same store, or name its new place (--set "
            "siri.environment.kwargs.NAME=VALUE)"
        ) from error
    with model_folder(source) as folder:
        policy = LightPolicy(
            folder,
            sampling,
            max_prompt_length=config.data.max_prompt_length,
            max_response_length=config.data.max_response_length,
            dtype=dtype,
            device=options.device,
            max_running=options.concurrent,
        )
    try:
        prompts = PromptBuilder(
            policy.tokenizer,
            settings.prompt,
            config.data.max_prompt_length,
            config.data.get("apply_chat_template_kwargs", {}),
        )
        player = EpisodePlayer(
            TokenAgent(policy, prompts),
            make_env,
            max_turns=settings.rollout.max_turns,
            seed=seed,
            concurrent=options.concurrent,
        )
        report = retest(
            bank,
            skills,
            type_of,
            lambda plans: player.play(plans, on_end),
            pairs=options.pairs,
            seed=seed,
            level=options.level,
        )
    finally:
        policy.close()
    return report, about


def task_types(env: Any, task_ids: list[str], typer: Callable[[str], str], seed: int) -> dict[str, str]:
    """Task id -> task type, read from the text each task shows."""
    types = {}
    for task_id in task_ids:
        _, info = env.reset(seed=derive_seed(seed, "retest", "type", task_id), options={"task_id": task_id})
        types[task_id] = typer(str(info["task"]))
    env.close()
    return types


def training_tasks(config: DictConfig) -> frozenset[str]:
    """The tasks the run trained on, from its data.train_files; a file that is gone is named in a warning."""
    files = config.data.train_files
    tasks: set[str] = set()
    for name in [files] if isinstance(files, str) else files:
        if Path(name).is_file():
            tasks.update(pyarrow.parquet.read_table(name, columns=["task_id"])["task_id"].to_pylist())
        else:
            logger.warning("data.train_files: %s is gone; the panel is checked against the bank alone", name)
    return frozenset(tasks)


def panel_tasks(path: Path, environment: str) -> list[str]:
    """The task ids of a panel: the JSON file of `siri-verl data panel`, or its parquet file.

    Raises:
        PanelError: it is missing or malformed.
        RetestError: it is of another environment, or the parquet file lacks a column or repeats a task.
    """
    if path.suffix == ".json":
        panel = Panel.read(path)
        names, task_ids = {panel.environment}, list(panel.task_ids)
    else:
        try:
            table = pyarrow.parquet.read_table(path, columns=["environment", "task_id"])
        except FileNotFoundError as error:
            raise PanelError(f"{path}: no such panel file; `siri-verl data panel` writes one") from error
        except pyarrow.ArrowException as error:
            raise PanelError(f"{path}: no panel with columns environment and task_id ({error})") from error
        names, task_ids = set(table["environment"].to_pylist()), table["task_id"].to_pylist()
        if len(set(task_ids)) != len(task_ids) or not task_ids:
            raise PanelError(f"{path}: is empty or repeats a task; write it with `siri-verl data panel`")
    if names != {environment}:
        raise RetestError(f"{path}: tasks of {', '.join(sorted(names))}; the run's environment is {environment}")
    return task_ids
