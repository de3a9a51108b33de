# SPDX-License-Identifier: Apache-2.0
"""The settings of the `siri:` block: fields, defaults and ranges; a string under a field documents it.

docs/configuration.md is made from here (`siri-verl docs`); siri_verl/settings/read.py reads a run's configuration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from siri_verl.core.curriculum import CurriculumSettings
from siri_verl.core.internalization import InternalizationSettings
from siri_verl.core.phases import INTERNALIZATION, MINING, PHASES, WARM_UP, PhaseSettings
from siri_verl.core.rules import UtilitySettings
from siri_verl.failures import check_field, check_one_of
from siri_verl.settings.arms import ArmsSettings
from siri_verl.settings.writer import WriterSettings
from siri_verl.skills.bank import BankSettings
from siri_verl.skills.mining import MiningSettings
from siri_verl.skills.retrieval import RetrievalSettings
from siri_verl.skills.task_type import TaskTypeSettings
from siri_verl.trajectory.prompts import PromptSettings


@dataclass
class EnvironmentSettings:
    """Which environment, and how many processes host it."""

    name: str = "toy"
    """A registered name (`siri-verl doctor` lists them), or the id of a Gymnasium environment with text observations
    and the seven keys of `info` (docs/environments.md)."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Passed to the environment's constructor."""
    num_servers: int = 1
    """Environment processes per node."""
    sessions_per_server: int = 128
    """Episodes one process hosts at a time; further ones wait."""
    step_timeout: float = 120.0
    """Seconds until a reset or step that does not answer ends its episode with status `environment_lost`."""
    memory_limit_mib: float | None = 4096.0
    """A process that holds more memory of its own than this, in MiB, takes no further episodes and is replaced when its
    last one ends; files it only reads, as the catalogue, do not count. null: no limit."""

    def __post_init__(self):
        limit = self.memory_limit_mib
        check_field(self, "siri.environment.memory_limit_mib", limit is None or limit > 0, "use null or MiB > 0")
        check_field(self, "siri.environment.num_servers", self.num_servers >= 1, "use at least 1")
        check_field(self, "siri.environment.sessions_per_server", self.sessions_per_server >= 1, "use at least 1")
        check_field(self, "siri.environment.step_timeout", self.step_timeout > 0, "use seconds > 0")


@dataclass
class RolloutSettings:
    """Episodes and requests."""

    max_turns: int = 15
    """Turns after which an episode is cut."""
    request_seeds: bool = False
    """Give every generation request a seed derived from run seed, step, task, arm, session and turn."""
    poll_interval: float = 0.2
    """Seconds between looks at the replay buffer (verl's own default of 2 s dominates small runs)."""
    request_timeout: float = 1800.0
    """Seconds until a request to a policy server that does not answer ends the run."""
    max_malformed_share: float | None = 0.99
    """A run in whose first 5 steps at least this share of replies is malformed stops: nothing can be learned from such
    replies. null never stops. `siri-verl eval` has an option of this name."""
    max_failed_task_share: float | None = 0.5
    """A task whose environment raises, or whose first prompt does not fit, is named and its episodes do not count. A
    run in which more than this share of the tasks tried (at least 10) fail so stops. null never stops."""

    def __post_init__(self):
        check_field(self, "siri.rollout.max_turns", self.max_turns >= 1, "use at least 1")
        check_field(self, "siri.rollout.poll_interval", self.poll_interval > 0, "use seconds > 0")
        check_field(self, "siri.rollout.request_timeout", self.request_timeout > 0, "use seconds > 0")
        limit = self.max_malformed_share
        in_range = limit is None or 0 < limit <= 1
        check_field(self, "siri.rollout.max_malformed_share", in_range, "use null or a share in (0, 1]")
        limit = self.max_failed_task_share
        in_range = limit is None or 0 <= limit < 1
        check_field(self, "siri.rollout.max_failed_task_share", in_range, "use null or a share in [0, 1)")


@dataclass
class RewardSettings:
    """From the environment's native score to the training reward."""

    kind: str = "success"
    """`success`: `success_reward` at the turn that solves the task, else 0; `score`: native reward times
    `success_reward`."""
    success_reward: float = 10.0
    """Return of a solved task."""

    def __post_init__(self):
        check_one_of("siri.reward.kind", self.kind, ("success", "score"))
        finite = 0 < self.success_reward < math.inf
        check_field(self, "siri.reward.success_reward", finite, "use a finite value > 0")


@dataclass
class UpdateSettings:
    """The optimizer steps of one iteration."""

    mini_batches: int | None = None
    """A fixed number of optimizer steps per iteration. None keeps verl's rule: rows / (ppo_mini_batch_size *
    rollout.n)."""
    damped_mini_batches: int | None = None
    """Optimizer steps per iteration during warm-up, and until every task type with a plain success has a skill that
    was promoted or retired, so that the policy keeps what mining needs. A factor on the loss would not do: Adam's steps
    do not depend on its scale. null: no difference."""
    damped_max_steps: int = 30
    """After this training step `damped_mini_batches` has no effect."""
    non_finite: str = "stop"
    """What NaN or infinite log-probs, advantages or losses do. `stop`: the run ends and names the rows. `skip`: these
    rows are taken out of the update, optimizer steps that are not finite are left out, and both are counted
    (siri/update/skipped_rows, siri/update/skipped_steps); an update without a finite step still ends the run."""

    def __post_init__(self):
        for name in ("mini_batches", "damped_mini_batches"):
            number = getattr(self, name)
            check_field(self, f"siri.update.{name}", number is None or number >= 1, "use null or at least 1")
        check_field(self, "siri.update.damped_max_steps", self.damped_max_steps >= 1, "use at least 1")
        check_one_of("siri.update.non_finite", self.non_finite, ("stop", "skip"))


@dataclass
class ExplorationSettings:
    """Sampling of task types that have neither success nor skill."""

    temperature: float | None = None
    """Sampling temperature of such types' explored sessions. Their log-probs are computed at
    actor_rollout_ref.rollout.temperature, as all others'. null: no exploration."""
    share: float = 0.5
    """Share of a group's sessions that are explored, at least one."""
    patience: int = 3
    """A type is explored when it has no candidate, active or internalized skill, and no success for this many training
    steps."""

    def __post_init__(self):
        warm = self.temperature is None or self.temperature > 0
        check_field(self, "siri.exploration.temperature", warm, "use null or a temperature > 0")
        check_field(self, "siri.exploration.share", 0 < self.share <= 1, "use a share in (0, 1]")
        check_field(self, "siri.exploration.patience", self.patience >= 1, "use at least 1")


@dataclass
class BudgetSettings:
    """When a run ends before trainer.total_training_steps, with the checkpoint and the validation of a last step."""

    env_steps: int | None = None
    """The run ends with the first step at or past this many environment steps; those of both arms count, and those of
    the run it was resumed from."""
    last_phase: str | None = None
    """The run ends when this phase does; resumed without it, it continues with the next phase."""

    def __post_init__(self):
        steps = self.env_steps
        check_field(self, "siri.budget.env_steps", steps is None or steps >= 1, "use null or at least 1")
        if self.last_phase is not None:
            check_one_of("siri.budget.last_phase", self.last_phase, PHASES)

    def spent(self, env_steps: int, phase: str) -> bool:
        """Whether a run with this many environment steps behind it, now in this phase, is over."""
        if self.env_steps is not None and env_steps >= self.env_steps:
            return True
        return self.last_phase is not None and PHASES.index(phase) > PHASES.index(self.last_phase)


@dataclass
class ControlSettings:
    """Controls and ablations that are not a setting of the method itself."""

    skills_in_prompt: bool = False
    """Show the best active skill in validation too. Validation then no longer measures the plain policy; its metrics
    are marked."""
    self_imitation_tokens: int = 0
    """With siri.internalization.source=self_imitation: plain action tokens of positive advantage per update, to be set
    to what the compared run's gate let through (its siri/internalization/tokens_gated)."""

    def __post_init__(self):
        enough = self.self_imitation_tokens >= 0
        check_field(self, "siri.control.self_imitation_tokens", enough, "use a number >= 0")


@dataclass
class SampleSettings:
    """Trajectories a run keeps on disk for its readers, at each validation and in the first step."""

    validation: int = 12
    """Validation trajectories kept: the same tasks every time, spread over categories. 0 keeps none."""
    training: int = 4
    """Training groups kept, one trajectory of each arm. 0 keeps none."""
    max_chars: int = 4000
    """Longest observation or reply kept; what is cut is counted."""

    def __post_init__(self):
        for name, least in (("validation", 0), ("training", 0), ("max_chars", 100)):
            check_field(self, f"siri.samples.{name}", getattr(self, name) >= least, f"use at least {least}")


@dataclass
class SiriSettings:
    """The `siri:` block."""

    seed: int = 1
    """Every random choice of the run derives from it."""
    method: str = "siri"
    """Name of the method in reports; it changes nothing itself. A method's group sets it together with the settings
    that make the method, for example `+siri=[webshop,no_gate]`. Set it for a variant of your own."""
    tasks: str = "environment"
    """`environment`: the tasks of `siri.environment`, played by siri_verl's agent loop; `dataset`: the dataset's rows,
    played by an agent loop of your own (docs/your_agent_loop.md). Rows then have a column `task_id`, and the text of
    the task in a column `task` or as their last user message."""
    environment: EnvironmentSettings = field(default_factory=EnvironmentSettings)
    prompt: PromptSettings = field(default_factory=PromptSettings)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    reward: RewardSettings = field(default_factory=RewardSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    exploration: ExplorationSettings = field(default_factory=ExplorationSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    initial_bank: str | None = None
    """A bank file to start from (written by an earlier run or by hand); null starts with an empty bank."""
    phases: PhaseSettings = field(default_factory=PhaseSettings)
    arms: ArmsSettings = field(default_factory=ArmsSettings)
    task_type: TaskTypeSettings = field(default_factory=TaskTypeSettings)
    bank: BankSettings = field(default_factory=BankSettings)
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    utility: UtilitySettings = field(default_factory=UtilitySettings)
    mining: MiningSettings = field(default_factory=MiningSettings)
    writer: WriterSettings = field(default_factory=WriterSettings)
    curriculum: CurriculumSettings = field(default_factory=CurriculumSettings)
    internalization: InternalizationSettings = field(default_factory=InternalizationSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    samples: SampleSettings = field(default_factory=SampleSettings)

    def __post_init__(self):
        check_field(self, "siri.method", bool(self.method.strip()), "give a name, for example siri")
        check_one_of("siri.tasks", self.tasks, ("environment", "dataset"))
        self._check_changes_take_effect()
        self._check_teacher_alone()
        self._check_writer()

    def _check_writer(self) -> None:
        """The writer's reward is an effect that is measured, and its replies are the policy's own."""
        if not self.writer.train:
            return
        fix = "leaves no phase with skills, whose effect is the writer's reward; drop one of the two"
        check_field(self.phases, "siri.phases.fixed", self.phases.fixed != WARM_UP, fix)
        own = self.mining.endpoint.base_url is None
        fix = "another model writes, and siri.writer.train=True learns from the policy's own replies; use null"
        check_field(self.mining.endpoint, "siri.mining.endpoint.base_url", own, fix)
        fix = "without a skill arm no effect is measured, which siri.writer.train=True rewards; use a share above 0"
        check_field(self.arms, "siri.arms.skill_share", bool(self.arms.skill_share), fix)

    def _check_teacher_alone(self) -> None:
        """Without a skill arm nothing is tested, and only plain turns have a teacher."""
        phases, arms, term = self.phases, self.arms, self.internalization
        if phases.fixed == WARM_UP or arms.skill_share and arms.share(True):
            return
        fix = "without a skill arm (siri.arms.skill_share=0) there are only plain turns; use plain_under_skill"
        check_field(term, "siri.internalization.rows", term.rows == "plain_under_skill", fix)
        fix = "without a skill arm (siri.arms.skill_share=0) no Delta opens it; use false"
        check_field(term, "siri.internalization.gate", not term.gate, fix)
        fix = "without a skill arm (siri.arms.skill_share=0) nothing is tested; use any or newest"
        tests = bool(arms.skill_share)
        check_field(self.retrieval, "siri.retrieval.choice", tests or self.retrieval.choice != "tested", fix)
        plays = phases.fixed is None and MINING not in phases.skip
        fix = "leaves the mining phase nothing to test; use siri.phases.skip=[mining] or fixed=internalization"
        check_field(arms, "siri.arms.skill_share", tests or not plays, fix)

    def _check_changes_take_effect(self) -> None:
        """Refuse a change of the method whose phase is left out."""
        phases, changed = self.phases, self.internalization
        where = f"siri.phases.fixed={phases.fixed!r}" if phases.fixed else f"siri.phases.skip={list(phases.skip)!r}"
        internalizes = phases.fixed == INTERNALIZATION or (phases.fixed is None and INTERNALIZATION not in phases.skip)
        fix = f"has no effect, for {where} leaves no internalization phase; drop one of the two"
        check_field(changed, "siri.internalization.source", internalizes or changed.source == "skill", fix)
        check_field(changed, "siri.internalization.gate", internalizes or changed.gate, fix)
        check_field(changed, "siri.internalization.advantage_weights", internalizes or changed.advantage_weights, fix)
        mines = phases.fixed != WARM_UP
        fix = f"has no effect, for {where} leaves no phase with skills; drop one of the two"
        for name in ("random_skills", "neutral_skills", "during_warm_up"):
            check_field(self.mining, f"siri.mining.{name}", mines or not getattr(self.mining, name), fix)
        shows = mines or self.initial_bank is not None
        check_field(self.control, "siri.control.skills_in_prompt", shows or not self.control.skills_in_prompt, fix)
