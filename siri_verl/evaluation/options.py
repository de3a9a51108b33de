# SPDX-License-Identifier: Apache-2.0
"""The options of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siri_verl.evaluation.prompting import KINDS, PLAIN


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
