# SPDX-License-Identifier: Apache-2.0
"""The options of `siri-verl eval` and `siri-verl skills retest`.

Each field is an option of the command, with the field's default, and with the string under it as help text
(siri_verl/cli/common.py). A field's metadata has `names` where the option is not called after the field, and `argument`
for an argument. The module imports nothing heavy, since the command line imports it at its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from siri_verl.failures import ConfigError, check_field, check_one_of
from siri_verl.trajectory.failed_tasks import LIMIT

PLAIN, REACT, REFLEXION = "plain", "react", "reflexion"
KINDS = (PLAIN, REACT, REFLEXION)
"""Ways to prompt (siri_verl/evaluation/prompting)."""


class EvaluationError(ValueError):
    """An evaluation is impossible as requested. The message states the reason and the fix."""


@dataclass(frozen=True)
class EvalOptions:
    """What to evaluate and how. None takes the value of the run that the model is from, or, without a run, that of the
    published protocol (conf/siri/webshop.yaml).

    Raises:
        ConfigError: a value is out of range.
    """

    model: str = field(metadata={"argument": True})
    """Run, checkpoint or Hugging Face folder; with --endpoint the model's name."""
    panel: Path | None = None
    """Tasks, JSON or parquet; default: the run's validation panel."""
    environment: str | None = field(default=None, metadata={"names": ("--env",)})
    """Environment, with --split; instead of --panel."""
    split: str | None = None
    """A split of the environment."""
    size: int | None = None
    """Draw this number of tasks."""
    panel_seed: int = 0
    """Seed of the draw."""
    endpoint: str | None = None
    """OpenAI-compatible address, http://.../v1."""
    run: Path | None = None
    """Run whose settings apply; default: the run that contains MODEL."""
    bank: Path | None = None
    """Show the best active skills of this bank."""
    prompting: str = PLAIN
    """plain, react or reflexion."""
    max_trials: int = 3
    """Reflexion: attempts at a task."""
    example: Path | None = None
    """ReAct, Reflexion: text file, a worked example."""
    repeats: int = field(default=1, metadata={"names": ("--repeats", "-n")})
    """Episodes per task."""
    seed: int | None = None
    """Default: the run's."""
    temperature: float | None = None
    """Default: that of the run's validation, else 0.4."""
    top_p: float | None = None
    top_k: int | None = None
    template: str | None = None
    """full, compact or compact_actions; default: the run's."""
    history_length: int | None = None
    """Earlier turns in the prompt."""
    task_type: str | None = None
    """How task types are derived; default: the run's."""
    max_turns: int | None = None
    max_prompt_length: int | None = None
    """Tokens; an endpoint has its own limit."""
    max_response_length: int | None = None
    """Tokens."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str | None = None
    """Default: that of the run's rollouts."""
    concurrent: int | None = None
    """Concurrent episodes."""
    training_tasks: bool = False
    """Allow tasks that the run trained on."""
    max_malformed_share: float = 0.99
    """Stop where this share of replies in 50 episodes is malformed; above 1 never stops."""
    max_failed_task_share: float = LIMIT
    """Stop where more than this share of the tasks tried (at least 10) cannot be played."""
    level: float = 0.95
    """Coverage of the intervals."""
    against: Path | None = None
    """Folder of another evaluation, for the paired difference."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the endpoint's key."""
    timeout: float = 120.0
    """Seconds to wait for an endpoint's answer."""
    retries: int = 5
    """Retries at an endpoint."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict, metadata={"names": ("--set",)})
    """A setting of the environment, as key=value; the value is JSON."""

    def __post_init__(self) -> None:
        check_one_of("prompting", self.prompting, KINDS)
        check_field(self, "max_malformed_share", self.max_malformed_share > 0, "use a share above 0")
        check_field(self, "max_failed_task_share", self.max_failed_task_share >= 0, "use a share of 0 or more")
        check_field(self, "repeats", self.repeats >= 1, "use at least 1")
        check_field(self, "max_trials", self.max_trials >= 1, "use at least 1")
        check_field(self, "concurrent", self.concurrent is None or self.concurrent >= 1, "use at least 1")
        for name in ("max_turns", "max_prompt_length", "max_response_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')}: {name}={value}; use at least 1")
        own = self.env_kwargs.get("max_turns", self.max_turns)
        if self.max_turns is not None and own != self.max_turns:
            raise ConfigError(
                f"--set max_turns={own}: --max-turns is {self.max_turns}, and the smaller of the two ends an episode; "
                "give one of them"
            )
        check_field(self, "level", 0 < self.level < 1, "use a share in (0, 1), for example 0.95")
        if self.example is not None and self.prompting == PLAIN:
            raise ConfigError("example: belongs to --prompting react or reflexion; the plain prompt has none")


@dataclass(frozen=True)
class RetestOptions:
    """Which skills to test again, and on which model. None takes the run's value."""

    panel: Path
    """Tasks that the run did not use: JSON or parquet of `siri-verl data panel`."""
    model: Path | None = None
    """Hugging Face folder or checkpoint; default: the newest checkpoint."""
    skill_ids: tuple[str, ...] = field(default=(), metadata={"names": ("--skill",)})
    """A skill to test; default: the active ones."""
    ever_active: bool = False
    """Also test skills retired after promotion."""
    pairs: int = 64
    """Minimum pairs per skill."""
    seed: int | None = None
    """Default: the run's."""
    temperature: float | None = None
    """Default: that of the run's rollouts."""
    top_p: float | None = None
    top_k: int | None = None
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str | None = None
    """Default: that of the run's rollouts."""
    concurrent: int = 256
    """Concurrent episodes."""
    bank: Path | None = None
    """Bank file; default: the run's."""
    level: float = field(default=0.95, metadata={"hidden": True})
    """Coverage of the intervals."""
    overrides: tuple[str, ...] = field(default=(), metadata={"names": ("--set",)})
    """A setting of the run that has changed, key.path=value."""
