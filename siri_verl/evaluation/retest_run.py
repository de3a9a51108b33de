# SPDX-License-Identifier: Apache-2.0
"""Tests a run's skills again on new tasks, with the run's settings and bank and one of its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from siri_verl.envs.panels import Panel
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import TokenAgent
from siri_verl.evaluation.checks import check_device, check_sampling
from siri_verl.evaluation.episodes import EpisodePlayer
from siri_verl.evaluation.options import RetestOptions
from siri_verl.evaluation.retest import RetestError, RetestReport, check_fresh, choose_skills, retest
from siri_verl.evaluation.tasks import task_types
from siri_verl.light.policy import LightPolicy, Sampling
from siri_verl.runs.models import find_model, model_folder
from siri_verl.runs.saved import load_run
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank
from siri_verl.skills.task_type import task_typer
from siri_verl.trajectory.episode import Episode, EpisodePlan
from siri_verl.trajectory.failed_tasks import LIMIT, FailedTasks, FailedTasksError
from siri_verl.trajectory.prompt_builder import PromptBuilder


def retest_run(
    run: Path,
    options: RetestOptions,
    on_end: Callable[[Episode], None] = lambda episode: None,
    on_begin: Callable[[int], None] = lambda total: None,
) -> tuple[RetestReport, dict[str, Any]]:
    """Re-test a run's skills.

    Args:
        run: the run's folder.
        options: skills, model, panel and sampling.
        on_end: called after each episode.
        on_begin: called with the number of episodes before the first.

    Returns:
        (the report, its inputs: model, bank, panel, sampling, seed). Without a skill to test the report is empty and
        no model is loaded.

    Raises:
        FileNotFoundError, BankFileError, ModelFolderError, PanelError, RetestError, ConfigError, ValueError: what is
            missing or does not fit, by name.
    """
    check_device(options.device)
    saved = load_run(run, options.overrides)
    config, settings, rollout = saved.config, saved.settings, saved.config.actor_rollout_ref.rollout
    environment = settings.environment
    if settings.tasks == "dataset":
        raise RetestError(
            f"{run}: siri.tasks='dataset': its tasks are played by an agent loop of its own, which runs in the trainer "
            "alone; the evidence of the run itself is what `siri-verl skills show` prints"
        )
    bank_path = options.bank or saved.folder.bank
    bank = load_bank(bank_path, ANY_LENGTH)
    skills = choose_skills(bank, options.skill_ids, options.ever_active)
    task_ids = panel_tasks(options.panel, environment.name)
    check_fresh(task_ids, {"were trained on": saved.training_tasks()})
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
    about["model"] = {"name": source.name, "folder": str(source.folder), "weights": source.weights, "dtype": dtype}
    failed = FailedTasks(LIMIT, "share that may fail")
    try:
        type_of = task_types(make_env(), task_ids, task_typer(settings.task_type), seed, failed)
    except FailedTasksError as error:
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
            failed=failed,
            concurrent=options.concurrent,
        )

        def play(plans: Sequence[EpisodePlan]) -> list[Episode | None]:
            on_begin(len(plans))
            return player.play(plans, on_end)

        report = retest(
            bank,
            skills,
            type_of,
            play,
            pairs=options.pairs,
            seed=seed,
            level=options.level,
        )
    finally:
        policy.close()
    failed.check()
    about["failed_tasks"] = failed.reasons
    return report, about


def panel_tasks(path: Path, environment: str) -> list[str]:
    """The task ids of a panel file.

    Raises:
        PanelError: it is missing or malformed.
        RetestError: it is of another environment.
    """
    panel = Panel.read(path)
    if panel.environment != environment:
        raise RetestError(f"{path}: tasks of {panel.environment}; the run's environment is {environment}")
    return list(panel.task_ids)
