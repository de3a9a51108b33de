# SPDX-License-Identifier: Apache-2.0
"""From the options of an evaluation to all that it needs: run, protocol, model, panel, skill bank, and the settings
that decide its results."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from siri_verl.endpoint import EndpointSettings
from siri_verl.envs.panels import Panel
from siri_verl.evaluation.checks import check_device
from siri_verl.evaluation.options import PLAIN, EvalOptions, EvaluationError
from siri_verl.evaluation.protocol import Protocol, protocol
from siri_verl.evaluation.tasks import choose_panel
from siri_verl.runs.folder import EvaluationFolder, RunFolder
from siri_verl.runs.models import ModelSource, find_model
from siri_verl.runs.saved import SavedRun, load_run


@dataclass(frozen=True)
class Prepared:
    """An evaluation that can be played.

    Attributes:
        options: of the evaluation.
        run: the run whose settings hold, None without.
        how: the protocol in force.
        panel: the tasks, and all settings of the environment.
        model: the model's weights, or the endpoint that serves it.
        bank: file of the skill bank, None without.
        concurrent: episodes in play at a time.
        settings: what decides the results; a log is continued only under the same settings.
        name: of the default folder.
    """

    options: EvalOptions
    run: SavedRun | None
    how: Protocol
    panel: Panel
    model: ModelSource | EndpointSettings
    bank: Path | None
    concurrent: int
    settings: Mapping[str, Any]
    name: str

    @property
    def samples(self) -> int:
        """Episodes per trial."""
        return len(self.panel.task_ids) * self.options.repeats

    def default_folder(self) -> Path:
        """Where the files go without another choice: in the run's folder, else in the present one."""
        return RunFolder(self.run.folder.path if self.run else Path()).evaluation(self.name).path


def prepare(options: EvalOptions) -> Prepared:
    """Find run, model, panel and bank; nothing is played.

    Raises:
        ModelFolderError, PanelError, EvaluationError, ConfigError, BankFileError, ValueError, OSError: what is missing
            or does not fit, by name.
    """
    run = find_run(options)
    how = protocol(options, run)
    concurrent = options.concurrent or (256 if options.endpoint is None else 32)
    endpoint = None
    if options.endpoint is not None:
        endpoint = EndpointSettings(
            base_url=options.endpoint,
            model=options.model,
            api_key_env=options.api_key_env,
            timeout=options.timeout,
            retries=options.retries,
            parallel=concurrent,
        )
    else:
        check_device(options.device)
    if options.against is not None and not EvaluationFolder(options.against).trajectories.is_file():
        raise EvaluationError(
            f"--against {options.against}: holds no {EvaluationFolder(options.against).trajectories.name}; give the "
            "folder of another evaluation (its --out)"
        )
    model = endpoint or find_model(options.model)
    panel = choose_panel(options, run)
    bank = None if options.bank is None else find_bank(options.bank)
    settings = {
        "model": describe_model(model, how.dtype),
        "environment": {"name": panel.environment, "kwargs": dict(panel.env_kwargs)},
        "panel": {
            "split": panel.split,
            "tasks": len(panel.task_ids),
            "sha256": short_sha256("\n".join(panel.task_ids).encode("utf-8")),
        },
        "repeats": options.repeats,
        "seed": how.seed,
        "sampling": asdict(how.sampling),
        "prompting": describe_prompting(options, how),
        "max_turns": how.max_turns,
        "max_prompt_length": None if endpoint else how.max_prompt_length,
        "max_response_length": how.max_response_length,
        "task_type": asdict(how.task_type),
        "bank": None if bank is None else {"file": bank.name, "sha256": short_sha256(bank.read_bytes())},
    }
    parts = [settings["model"]["name"], panel.split or panel.environment, options.prompting, "skills" if bank else ""]
    name = "_".join(part.replace("/", "-") for part in parts if part and part != PLAIN)
    return Prepared(options, run, how, panel, model, bank, concurrent, settings, name)


def find_run(options: EvalOptions) -> SavedRun | None:
    """The run that the options name, else the one in whose folder the model lies, if any.

    Raises:
        FileNotFoundError: the run that is named has no settings.
        ConfigError: the run's settings are damaged.
    """
    if options.run is not None:
        return load_run(options.run)
    if options.endpoint is not None:
        return None
    path = Path(options.model).resolve()
    folders = (RunFolder(folder) for folder in (path, *path.parents[:3]))
    found = next((folder for folder in folders if folder.config.is_file() and folder.tracker.is_file()), None)
    return None if found is None else load_run(found.path)


def find_bank(path: Path) -> Path:
    """The bank file at a path: the file itself, or that of a run or checkpoint.

    Raises:
        EvaluationError: there is none.
    """
    file = RunFolder(path).bank if path.is_dir() else path
    if not file.is_file():
        raise EvaluationError(f"bank {file}: no such file; give a bank file, a run or a checkpoint")
    return file


def describe_model(model: ModelSource | EndpointSettings, dtype: str) -> dict[str, Any]:
    """Name of the model, and a fingerprint of its weights or its address."""
    if isinstance(model, EndpointSettings):
        return {"name": model.model, "endpoint": model.base_url}
    return {"name": model.name, "fingerprint": model.fingerprint(), "weights": model.weights, "dtype": dtype}


def describe_prompting(options: EvalOptions, how: Protocol) -> dict[str, Any]:
    """Kind of prompting with its settings; those that the kind does not use are None."""
    plain = options.prompting == PLAIN
    return {
        "kind": options.prompting,
        "template": how.prompt.template if plain else None,
        "history_length": how.prompt.history_length if plain else options.history_length,
        "max_trials": options.max_trials if options.prompting == "reflexion" else None,
        "example": None if options.example is None else short_sha256(options.example.read_bytes()),
        "chat_template_kwargs": dict(how.chat_template_kwargs),
    }


def short_sha256(content: bytes) -> str:
    """The first half of a SHA-256, in hex."""
    return hashlib.sha256(content).hexdigest()[:32]
