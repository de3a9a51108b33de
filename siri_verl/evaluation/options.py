# SPDX-License-Identifier: Apache-2.0
"""What an evaluation is asked to do, and what follows from it: the model, the run it comes from, the panel, the
settings that decide the numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from omegaconf import DictConfig, OmegaConf

from siri_verl.envs.panels import Panel, PanelError, make_panel
from siri_verl.evaluation.checks import check_sampling
from siri_verl.evaluation.prompting import KINDS, PLAIN
from siri_verl.evaluation.retest_run import training_tasks
from siri_verl.light.policy import Sampling
from siri_verl.runs.config import load_config
from siri_verl.runs.folder import RunFolder
from siri_verl.runs.models import ModelSource
from siri_verl.settings.read import siri_settings
from siri_verl.settings.schema import PromptSettings
from siri_verl.skills.task_type import TaskTypeSettings

PUBLISHED_SAMPLING = Sampling(temperature=0.4)
"""Of GiGPO's validation [verl-agent]; for models that come from no run."""
SAMPLED_BYTES = 1 << 20


class EvaluationError(ValueError):
    """An evaluation cannot be made as asked. The message says why and what to do."""


@dataclass(frozen=True)
class EvalOptions:
    """What is asked. None takes the value of the run the model is from, or, without one, that of the published
    protocol (conf/siri/webshop.yaml)."""

    model: str
    """Run, checkpoint or Hugging Face folder; with `endpoint` the model's name there."""
    endpoint: str | None = None
    """Address of an OpenAI-compatible endpoint."""
    run: Path | None = None
    """Run whose settings hold; None: the one whose folder the model lies in, if it does."""
    panel: Path | None = None
    """Tasks, JSON or parquet. None: `environment` and `split`, else the run's validation panel."""
    environment: str | None = None
    split: str | None = None
    size: int | None = None
    """Draw this many tasks of the split."""
    panel_seed: int = 0
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the environment, over those of panel and run."""
    bank: Path | None = None
    """Skill bank: the best active skill of a task's type is shown."""
    prompting: str = PLAIN
    max_trials: int = 3
    """Reflexion: attempts at a task."""
    example: Path | None = None
    """ReAct and Reflexion: a text file with a worked example."""
    repeats: int = 1
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    template: str | None = None
    history_length: int | None = None
    """Earlier turns in the prompt; for ReAct None keeps all."""
    task_type: str | None = None
    max_turns: int | None = None
    max_prompt_length: int | None = None
    max_response_length: int | None = None
    dtype: str | None = None
    device: str = "cpu"
    concurrent: int | None = None
    """Episodes in play at a time; None: 256, and 32 for an endpoint."""
    training_tasks: bool = False
    """Allow tasks that the run trained on."""
    level: float = 0.95
    against: Path | None = None
    """Folder of another evaluation, to be compared with."""
    api_key_env: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    retries: int = 5

    def __post_init__(self) -> None:
        if self.prompting not in KINDS:
            raise EvaluationError(f"prompting={self.prompting!r}: use one of {', '.join(KINDS)}")
        if self.repeats < 1:
            raise EvaluationError(f"repeats={self.repeats}: use at least 1")
        if self.max_trials < 1:
            raise EvaluationError(f"max_trials={self.max_trials}: use at least 1")
        if self.concurrent is not None and self.concurrent < 1:
            raise EvaluationError(f"concurrent={self.concurrent}: use at least 1")
        for name in ("max_turns", "max_prompt_length", "max_response_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EvaluationError(f"--{name.replace('_', '-')}: {name}={value}; use at least 1")
        if not 0 < self.level < 1:
            raise EvaluationError(f"level={self.level}: use a share in (0, 1), for example 0.95")
        if self.example is not None and self.prompting == PLAIN:
            raise EvaluationError("example: belongs to --prompting react or reflexion; the plain prompt has none")


@dataclass(frozen=True)
class Protocol:
    """How the model is run: what the run or the published protocol says, changed by what was asked."""

    prompt: PromptSettings
    task_type: TaskTypeSettings
    sampling: Sampling
    seed: int
    max_turns: int
    max_prompt_length: int
    max_response_length: int
    dtype: str
    chat_template_kwargs: Mapping[str, Any]


def find_run(options: EvalOptions) -> Path | None:
    """The run's folder: the one named, else the one the model lies in.

    Raises:
        FileNotFoundError: the one named has no settings.
    """
    if options.run is not None or options.endpoint is not None:
        return options.run
    path = Path(options.model).resolve()
    for folder in (path, *path.parents[:3]):
        if RunFolder(folder).config.is_file() and RunFolder(folder).tracker.is_file():
            return folder
    return None


def protocol(options: EvalOptions, config: DictConfig | None) -> Protocol:
    """The protocol in force.

    Args:
        options: what is asked.
        config: the run's settings, None without a run.

    Raises:
        ConfigError: the run's settings are damaged, or a value is out of range.
        ValueError: the sampling is out of range; names the option.
    """

    def given(name: str, otherwise: Any) -> Any:
        value = getattr(options, name)
        return otherwise if value is None else value

    if config is not None:
        settings, data = siri_settings(config), config.data
        rollout = config.actor_rollout_ref.rollout
        prompt, task_type, seed, max_turns = (
            settings.prompt,
            settings.task_type,
            settings.seed,
            settings.rollout.max_turns,
        )
        lengths, sampling = (data.max_prompt_length, data.max_response_length), _validation_sampling(rollout.val_kwargs)
        dtype, template_kwargs = str(rollout.dtype), data.get("apply_chat_template_kwargs") or {}
        chat_template_kwargs = OmegaConf.to_container(OmegaConf.create(template_kwargs), resolve=True)
    else:
        prompt, task_type, seed, max_turns = PromptSettings(), TaskTypeSettings(), 1, 15
        lengths, sampling, chat_template_kwargs = (4096, 512), PUBLISHED_SAMPLING, {}
        dtype = "float32" if options.device == "cpu" else "bfloat16"
    sampling = Sampling(**{name: given(name, value) for name, value in asdict(sampling).items()})
    check_sampling(sampling)
    return Protocol(
        prompt=PromptSettings(given("template", prompt.template), given("history_length", prompt.history_length)),
        task_type=task_type if options.task_type is None else TaskTypeSettings(kind=options.task_type),
        sampling=sampling,
        seed=given("seed", seed),
        max_turns=given("max_turns", max_turns),
        max_prompt_length=given("max_prompt_length", lengths[0]),
        max_response_length=given("max_response_length", lengths[1]),
        dtype=given("dtype", dtype),
        chat_template_kwargs=chat_template_kwargs,
    )


def _validation_sampling(kwargs: DictConfig) -> Sampling:
    """As verl's validation samples (rollout.val_kwargs, without `do_sample`: verl/trainer/ppo/v1/agent_loop_tq.py)."""
    return Sampling(float(kwargs.temperature), float(kwargs.top_p), int(kwargs.top_k))


def load_run(run: Path | None) -> DictConfig | None:
    """The run's settings.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    return None if run is None else load_config(run)


def find_panel(options: EvalOptions, config: DictConfig | None) -> Panel:
    """The tasks, with every setting of the environment: those of the run, then the panel's, then the ones given.

    Raises:
        PanelError, UnknownEnvironmentError, UnknownSplitError: the panel is missing or malformed.
        EvaluationError: nothing says which tasks, or they were trained on.
    """
    run_env = None if config is None else siri_settings(config).environment
    panel = _named_panel(options, config)
    kwargs = {**panel.env_kwargs, **options.env_kwargs}
    if run_env is not None and run_env.name == panel.environment:
        kwargs = {**run_env.kwargs, **kwargs}
    if options.max_turns is not None and "max_turns" in kwargs and "max_turns" not in options.env_kwargs:
        # The environment's own limit follows.
        kwargs["max_turns"] = options.max_turns
    if config is not None and not options.training_tasks and run_env and run_env.name == panel.environment:
        both = sorted(training_tasks(config).intersection(panel.task_ids))
        if both:
            raise EvaluationError(
                f"panel: {both[0]} and {len(both) - 1} more of its {len(panel.task_ids)} tasks were trained on; give "
                "another panel, or --training-tasks to measure on them all the same"
            )
    return Panel(panel.environment, panel.task_ids, kwargs, panel.split)


def _named_panel(options: EvalOptions, config: DictConfig | None) -> Panel:
    run_env = None if config is None else siri_settings(config).environment
    if options.panel is not None:
        panel = read_panel(options.panel)
        if options.environment not in (None, panel.environment):
            raise EvaluationError(f"{options.panel}: tasks of {panel.environment}, not of {options.environment}")
        return panel if options.size is None else panel.subset(options.size, options.panel_seed)
    name = options.environment or (run_env.name if run_env and options.split else None)
    if name is not None:
        kwargs = {**(run_env.kwargs if run_env and run_env.name == name else {}), **options.env_kwargs}
        return make_panel(name, kwargs, options.split, options.size, options.panel_seed)
    if config is not None:
        files = config.data.val_files
        panel = read_panel(Path(files if isinstance(files, str) else files[0]))
        return panel if options.size is None else panel.subset(options.size, options.panel_seed)
    raise EvaluationError("no tasks: give --panel FILE, or --env NAME with --split, or a run with a validation panel")


def read_panel(path: Path) -> Panel:
    """A panel from its JSON file, or from its parquet file, beside which the JSON file may lie.

    Raises:
        PanelError: missing or malformed, or the two files name different tasks.
    """
    if path.suffix == ".json":
        return Panel.read(path)
    try:
        table = pyarrow.parquet.read_table(path, columns=["environment", "task_id", "split"])
    except FileNotFoundError as error:
        raise PanelError(f"{path}: no such panel file; `siri-verl data panel` writes one") from error
    except pyarrow.ArrowException as error:
        raise PanelError(f"{path}: no panel with columns environment, task_id and split ({error})") from error
    names, splits = set(table["environment"].to_pylist()), set(table["split"].to_pylist())
    if len(names) != 1:
        raise PanelError(f"{path}: holds tasks of {len(names)} environments; evaluate one at a time")
    panel = Panel(names.pop(), tuple(table["task_id"].to_pylist()), {}, ", ".join(sorted(splits)))
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return panel
    described = Panel.read(beside)
    if described.task_ids != panel.task_ids or described.environment != panel.environment:
        raise PanelError(f"{path} and {beside} name different tasks; write them again with `siri-verl data panel`")
    return described


def decisive_settings(
    options: EvalOptions, how: Protocol, panel: Panel, model: Mapping[str, Any], bank: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What decides the numbers; a log goes on only under the same."""
    plain = options.prompting == PLAIN
    prompting = {
        "kind": options.prompting,
        "template": how.prompt.template if plain else None,
        "history_length": how.prompt.history_length if plain else options.history_length,
        "max_trials": options.max_trials if options.prompting == "reflexion" else None,
        "example": None if options.example is None else sha256(options.example.read_bytes()),
        "chat_template_kwargs": dict(how.chat_template_kwargs),
    }
    return {
        "model": dict(model),
        "environment": {"name": panel.environment, "kwargs": dict(panel.env_kwargs)},
        "panel": {
            "split": panel.split,
            "tasks": len(panel.task_ids),
            "sha256": sha256("\n".join(panel.task_ids).encode("utf-8")),
        },
        "repeats": options.repeats,
        "seed": how.seed,
        "sampling": asdict(how.sampling),
        "prompting": prompting,
        "max_turns": how.max_turns,
        "max_prompt_length": None if options.endpoint else how.max_prompt_length,
        "max_response_length": how.max_response_length,
        "task_type": asdict(how.task_type),
        "bank": bank if bank is None else dict(bank),
    }


def model_facts(options: EvalOptions, source: ModelSource | None, dtype: str) -> dict[str, Any]:
    """Which model: its name, and a fingerprint of its weights or its address."""
    if source is None:
        return {"name": options.model, "endpoint": options.endpoint}
    weights = "merged from shards, in bfloat16" if source.shards else "as saved"
    return {"name": source.name, "fingerprint": fingerprint(source), "weights": weights, "dtype": dtype}


def fingerprint(source: ModelSource) -> str:
    """A hash over the weight files' sizes, beginnings and ends: other weights give another one, large ones take no
    time."""
    digest = hashlib.sha256()
    files = [
        *source.folder.glob("*.safetensors"),
        *source.folder.glob("*.bin"),
        *source.folder.glob("model_world_*.pt"),
    ]
    for path in sorted(files, key=lambda p: p.name):
        size = path.stat().st_size
        with open(path, "rb") as file:
            digest.update(f"{size}".encode())
            digest.update(file.read(SAMPLED_BYTES))
            file.seek(max(size - SAMPLED_BYTES, 0))
            digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def sha256(content: bytes) -> str:
    """The first half of a SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()[:32]
