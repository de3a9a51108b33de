# SPDX-License-Identifier: Apache-2.0
"""`siri-verl eval`: a model on a panel, from the options to the files.

The folder holds `trajectories.jsonl` (append-only) and `summary.json`; docs/run_folder.md describes both.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from siri_verl.core.decision import ACTIVE
from siri_verl.endpoint import Endpoint, EndpointSettings
from siri_verl.envs.panels import Panel
from siri_verl.envs.registry import make_environment
from siri_verl.evaluation.agents import ChatAgent, ChatModel, EndpointChat, LocalChat, TokenAgent
from siri_verl.evaluation.checks import check_device
from siri_verl.evaluation.episodes import Agent, EpisodePlayer
from siri_verl.evaluation.log import EPISODE, TrajectoryLog, read_trajectories
from siri_verl.evaluation.options import (
    EvalOptions,
    EvaluationError,
    Protocol,
    decisive_settings,
    find_panel,
    find_run,
    load_run,
    model_facts,
    protocol,
    sha256,
)
from siri_verl.evaluation.play import Evaluation, Record, Reflecting
from siri_verl.evaluation.prompting import PLAIN, REFLEXION, PlainPrompting, ReactPrompting
from siri_verl.evaluation.retest_run import task_types
from siri_verl.evaluation.summary import SCHEMA, VERSION, compare, summarize
from siri_verl.files import write_text_atomically
from siri_verl.light.policy import LightPolicy
from siri_verl.runs.models import ModelSource, find_model, model_folder
from siri_verl.skills.bank_file import ANY_LENGTH, BANK_FILE, load_bank
from siri_verl.skills.retrieval import RetrievalSettings, Retriever
from siri_verl.skills.skill import Skill
from siri_verl.skills.task_type import task_typer
from siri_verl.trajectory.prompt_builder import PromptBuilder
from siri_verl.trajectory.prompts import TEMPLATES

TRAJECTORIES, SUMMARY = "trajectories.jsonl", "summary.json"


@dataclass(frozen=True)
class Prepared:
    """An evaluation, ready to be played.

    Attributes:
        options: what was asked.
        how: the protocol in force.
        panel: the tasks, and all settings of the environment.
        source: the model's weights, None for an endpoint.
        settings: what decides the numbers.
        bank_file: the skill bank, None without.
        name: for the folder.
    """

    options: EvalOptions
    how: Protocol
    panel: Panel
    source: ModelSource | None
    settings: Mapping[str, Any]
    bank_file: Path | None
    run: Path | None
    name: str = field(default="")

    @property
    def samples(self) -> int:
        """Episodes per trial."""
        return len(self.panel.task_ids) * self.options.repeats

    def default_folder(self) -> Path:
        """Where the files go when nobody says: in the run, else in the present folder."""
        return (self.run or Path()) / "eval" / self.name


def prepare(options: EvalOptions) -> Prepared:
    """Find model, run and panel.

    Raises:
        ModelFolderError, PanelError, EvaluationError, ConfigError, BankFileError, ValueError, OSError: what is missing
            or does not fit, by name.
    """
    run = find_run(options)
    config = load_run(run)
    how = protocol(options, config)
    if options.endpoint is not None:
        endpoint_settings(options)
    else:
        check_device(options.device)
    if options.against is not None and not (options.against / TRAJECTORIES).is_file():
        raise EvaluationError(
            f"--against {options.against}: holds no {TRAJECTORIES}; give the folder of another evaluation (its --out)"
        )
    source = None if options.endpoint is not None else find_model(options.model)
    panel = find_panel(options, config)
    bank_file = bank = None
    if options.bank is not None:
        bank_file = options.bank / BANK_FILE if options.bank.is_dir() else options.bank
        if not bank_file.is_file():
            raise EvaluationError(f"bank {bank_file}: no such file; give a bank file, a run or a checkpoint")
        bank = {"file": bank_file.name, "sha256": sha256(bank_file.read_bytes())}
    facts = model_facts(options, source, how.dtype)
    parts = [facts["name"], panel.split or panel.environment, options.prompting, "skills" if bank else ""]
    name = "_".join(part.replace("/", "-") for part in parts if part and part != PLAIN)
    settings = decisive_settings(options, how, panel, facts, bank)
    return Prepared(options, how, panel, source, settings, bank_file, run, name)


def run_evaluation(
    prepared: Prepared,
    folder: Path,
    on_end: Callable[[Record], None] = lambda record: None,
    on_begin: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Play what is missing and write the summary.

    Args:
        prepared: see `prepare`.
        folder: where the files go; one that holds a part of this evaluation is completed.
        on_end: called with each episode that was played now.
        on_begin: called once with the number of episodes that were there already.

    Returns:
        What summary.json holds.

    Raises:
        TrajectoryFileError: the folder holds an evaluation under other settings.
        EvaluationError: the bank has no active skill for any of the tasks.
        Exception: whatever environment or model raise; finished episodes are on disk.
    """
    options, how, panel = prepared.options, prepared.how, prepared.panel
    against = options.against
    started, played = time.monotonic(), 0
    # Read first: a wrong folder should be known before hours of play.
    others = None if against is None else read_trajectories(against / TRAJECTORIES)[1]
    typer = task_typer(how.task_type)
    skills = _skills(prepared) if prepared.bank_file else {}
    log = TrajectoryLog(folder / TRAJECTORIES, prepared.settings)
    try:
        on_begin(len(log.episodes()))

        def count(record: Record) -> None:
            nonlocal played
            played += 1
            on_end(record)

        with _players(prepared) as (agent, chat, special_tokens):
            player = EpisodePlayer(
                agent,
                lambda: make_environment(panel.environment, **panel.env_kwargs),
                max_turns=how.max_turns,
                seed=how.seed,
                concurrent=_concurrent(options),
            )
            reflecting = None
            if options.prompting == REFLEXION:
                reflecting = Reflecting(chat, options.max_trials, special_tokens)
            evaluation = Evaluation(panel.task_ids, options.repeats, how.seed, player, log, typer, skills, reflecting)
            records = evaluation.run(count)
    finally:
        log.close()
    summary = {
        "schema": SCHEMA,
        "version": VERSION,
        "settings": dict(prepared.settings),
        "level": options.level,
        **summarize(records, max_response_length=how.max_response_length, level=options.level, seed=how.seed),
        "against": None,
        "about": {
            "run": None if prepared.run is None else str(prepared.run),
            "model_folder": None if prepared.source is None else str(prepared.source.folder),
            "device": options.device if prepared.source else "endpoint",
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "versions": {name: version(name) for name in ("siri_verl", "verl", "torch", "transformers")},
            "episodes_played_now": played,
            "wall_seconds_now": round(time.monotonic() - started, 1),
        },
    }
    if others is not None:
        theirs = [record for record in others if record["record"] == EPISODE]
        summary["against"] = {"folder": str(against), **compare(records, theirs, options.level)}
    write_text_atomically(folder / SUMMARY, json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return summary


def endpoint_settings(options: EvalOptions) -> EndpointSettings:
    """Where and how the model is asked.

    Raises:
        ValueError: address, name, timeout or retries do not do.
    """
    return EndpointSettings(
        base_url=options.endpoint or "",
        model=options.model,
        api_key_env=options.api_key_env,
        timeout=options.timeout,
        retries=options.retries,
        parallel=_concurrent(options),
    )


def _concurrent(options: EvalOptions) -> int:
    if options.concurrent is not None:
        return options.concurrent
    return 256 if options.endpoint is None else 32


def _skills(prepared: Prepared) -> dict[str, Skill]:
    """Task id -> the best active skill of its type."""
    how, panel = prepared.how, prepared.panel
    assert prepared.bank_file
    bank = load_bank(prepared.bank_file, ANY_LENGTH)
    retriever = Retriever(RetrievalSettings(), how.seed)
    env = make_environment(panel.environment, **panel.env_kwargs)
    types = task_types(env, list(panel.task_ids), task_typer(how.task_type), how.seed)
    best = {task_id: retriever.plan(bank, name).best for task_id, name in types.items()}
    found = {task_id: skill for task_id, skill in best.items() if skill}
    if not found:
        named = sorted({skill.task_type for skill in bank.skills.values() if skill.status == ACTIVE})
        raise EvaluationError(
            f"bank {prepared.bank_file}: no active skill for the panel's task types "
            f"({', '.join(sorted(set(types.values())))}); active ones are for {', '.join(named) or 'none'} (siri-verl "
            "skills list; --task-type says how types are read)"
        )
    return found


@contextmanager
def _players(prepared: Prepared) -> Iterator[tuple[Agent, ChatModel, tuple[str, ...]]]:
    """The agent, the same model for messages, and the special tokens of its tokenizer."""
    options, how = prepared.options, prepared.how
    example = "" if options.example is None else options.example.read_text(encoding="utf-8").strip()
    react = ReactPrompting(options.history_length, example)
    if prepared.source is None:
        endpoint = EndpointChat(Endpoint(endpoint_settings(options)), how.sampling, how.max_response_length)
        plain = PlainPrompting(TEMPLATES[how.prompt.template], how.prompt.history_length)
        try:
            yield ChatAgent(endpoint, plain if options.prompting == PLAIN else react), endpoint, ()
        finally:
            endpoint.close()
        return
    with ExitStack() as stack:
        with model_folder(prepared.source) as folder:
            policy = LightPolicy(
                folder,
                how.sampling,
                max_prompt_length=how.max_prompt_length,
                max_response_length=how.max_response_length,
                dtype=how.dtype,
                device=options.device,
                max_running=_concurrent(options),
            )
        stack.callback(policy.close)
        prompts = PromptBuilder(policy.tokenizer, how.prompt, how.max_prompt_length, how.chat_template_kwargs)
        chat = LocalChat(policy, how.max_prompt_length, how.chat_template_kwargs)
        agent = TokenAgent(policy, prompts) if options.prompting == PLAIN else ChatAgent(chat, react)
        yield agent, chat, tuple(policy.tokenizer.all_special_tokens)
