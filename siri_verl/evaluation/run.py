# SPDX-License-Identifier: Apache-2.0
"""Plays a prepared evaluation and writes its files, which docs/run_folder.md describes."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from siri_verl.core.rules import ACTIVE
from siri_verl.endpoint import Endpoint, EndpointSettings
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import ChatAgent, ChatModel, EndpointChat, LocalChat, TokenAgent
from siri_verl.evaluation.episodes import Agent, EpisodePlayer
from siri_verl.evaluation.log import TrajectoryLog
from siri_verl.evaluation.options import PLAIN, REFLEXION, EvaluationError
from siri_verl.evaluation.play import Evaluation, Reflecting
from siri_verl.evaluation.prepare import Prepared
from siri_verl.evaluation.prompting import PlainPrompting, ReactPrompting
from siri_verl.evaluation.summary import SCHEMA, VERSION, compare, summarize
from siri_verl.evaluation.tasks import task_types
from siri_verl.files import write_text_atomically
from siri_verl.light.policy import LightPolicy
from siri_verl.runs.folder import EvaluationFolder
from siri_verl.runs.models import ModelSource, model_folder
from siri_verl.skills.bank_file import ANY_LENGTH, load_bank
from siri_verl.skills.retrieval import best_active
from siri_verl.skills.skill import Skill
from siri_verl.skills.task_type import task_typer
from siri_verl.trajectory.failed_tasks import FailedTasks
from siri_verl.trajectory.file import EVALUATION, read_trajectories
from siri_verl.trajectory.malformed import EPISODES, MalformedReplies
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import TEMPLATES
from siri_verl.trajectory.turn import Trajectory
from siri_verl.versions import installed_version


def run_evaluation(
    prepared: Prepared,
    folder: Path,
    on_end: Callable[[Trajectory], None] = lambda trajectory: None,
    on_begin: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Play what is missing and write the summary.

    Args:
        prepared: see `prepare`.
        folder: where the files go; one that holds a part of this evaluation is completed.
        on_end: called with each trajectory that was played now.
        on_begin: called once with the number of episodes that were there already.

    Returns:
        What summary.json holds.

    Raises:
        TrajectoryFileError: the folder holds an evaluation under other settings.
        EvaluationError: the bank has no active skill for any of the tasks.
        FailedTasksError: too many tasks cannot be played.
        MalformedRepliesError: hardly any reply is well formed.
        Exception: whatever the model raises; finished episodes are on disk.
    """
    options, how, panel = prepared.options, prepared.how, prepared.panel
    files, against = EvaluationFolder(folder), options.against
    started, played = time.monotonic(), 0
    # Read before any episode is played: a damaged file is found at once.
    others = None if against is None else read_trajectories(EvaluationFolder(against).trajectories, EVALUATION)
    typer = task_typer(how.task_type)
    failed = FailedTasks(options.max_failed_task_share, "--max-failed-task-share")
    skills = {} if prepared.bank is None else best_skills(prepared, prepared.bank, failed)
    log = TrajectoryLog(files.trajectories, prepared.settings)
    malformed = MalformedReplies(options.max_malformed_share, "--max-malformed-share", EPISODES)
    for trajectory in log.trajectories.values():
        failed.tried(trajectory.task_id)
    try:
        on_begin(len(log.trajectories))

        def count(trajectory: Trajectory) -> None:
            nonlocal played
            played += 1
            on_end(trajectory)
            malformed.add(sum(not turn.valid for turn in trajectory.turns), len(trajectory.turns))

        with open_agent(prepared) as (agent, chat, special_tokens):
            player = EpisodePlayer(
                agent,
                lambda: make_environment(panel.environment, **panel.env_kwargs),
                max_turns=how.max_turns,
                seed=how.seed,
                failed=failed,
                concurrent=prepared.concurrent,
            )
            reflecting = None
            if options.prompting == REFLEXION:
                reflecting = Reflecting(chat, options.max_trials, special_tokens)
            evaluation = Evaluation(panel.task_ids, options.repeats, how.seed, player, log, typer, skills, reflecting)
            trajectories = evaluation.run(count)
        failed.check()
    finally:
        log.close()
    summary = {
        "schema": SCHEMA,
        "version": VERSION,
        "settings": dict(prepared.settings),
        "level": options.level,
        **summarize(trajectories, max_response_length=how.max_response_length, level=options.level, seed=how.seed),
        "failed_tasks": failed.reasons,
        "against": None,
        "about": {
            "run": None if prepared.run is None else str(prepared.run.folder.path),
            "model_folder": str(prepared.model.folder) if isinstance(prepared.model, ModelSource) else None,
            "device": options.device if isinstance(prepared.model, ModelSource) else "endpoint",
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "versions": {name: installed_version(name) for name in ("siri_verl", "verl", "torch", "transformers")},
            "episodes_played_now": played,
            "wall_seconds_now": round(time.monotonic() - started, 1),
        },
    }
    if others is not None:
        summary["against"] = {"folder": str(against), **compare(trajectories, others.trajectories, options.level)}
    write_text_atomically(files.summary, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return summary


def best_skills(prepared: Prepared, file: Path, failed: FailedTasks) -> dict[str, Skill]:
    """Task id -> the best active skill of its type in a bank file; tasks without one, or that failed, are absent.

    Raises:
        EvaluationError: no task has one.
    """
    how, panel = prepared.how, prepared.panel
    bank = load_bank(file, ANY_LENGTH)
    env = make_environment(panel.environment, **panel.env_kwargs)
    types = task_types(env, panel.task_ids, task_typer(how.task_type), how.seed, failed)
    best = {name: best_active(bank, name) for name in set(types.values())}
    found = {task_id: skill for task_id, name in types.items() if (skill := best[name])}
    if not found:
        named = sorted({skill.task_type for skill in bank.skills.values() if skill.status == ACTIVE})
        raise EvaluationError(
            f"bank {file}: no active skill for the panel's task types "
            f"({', '.join(sorted(set(types.values())))}); active ones are for {', '.join(named) or 'none'} (siri-verl "
            "skills list; --task-type sets how types are derived)"
        )
    return found


@contextmanager
def open_agent(prepared: Prepared) -> Iterator[tuple[Agent, ChatModel, tuple[str, ...]]]:
    """The agent, its model as one that takes messages, and the special tokens of the tokenizer (none of an endpoint).
    The model is unloaded at the end of the context."""
    options, how = prepared.options, prepared.how
    example = "" if options.example is None else options.example.read_text(encoding="utf-8").strip()
    react = ReactPrompting(options.history_length, example)
    if isinstance(prepared.model, EndpointSettings):
        endpoint = EndpointChat(Endpoint(prepared.model), how.sampling, how.max_response_length)
        plain = PlainPrompting(TEMPLATES[how.prompt.template], how.prompt.history_length)
        try:
            yield ChatAgent(endpoint, plain if options.prompting == PLAIN else react), endpoint, ()
        finally:
            endpoint.close()
        return
    with ExitStack() as stack:
        with model_folder(prepared.model) as folder:
            policy = LightPolicy(
                folder,
                how.sampling,
                max_prompt_length=how.max_prompt_length,
                max_response_length=how.max_response_length,
                dtype=how.dtype,
                device=options.device,
                max_running=prepared.concurrent,
            )
        stack.callback(policy.close)
        prompts = PromptBuilder(policy.tokenizer, how.prompt, how.max_prompt_length, how.chat_template_kwargs)
        chat = LocalChat(policy, how.max_prompt_length, how.chat_template_kwargs)
        agent = TokenAgent(policy, prompts) if options.prompting == PLAIN else ChatAgent(chat, react)
        yield agent, chat, tuple(policy.tokenizer.all_special_tokens)
