# SPDX-License-Identifier: Apache-2.0
"""The run's phases: warm-up, mining, internalization, and what moves it from one to the next.

    warm_up          plain GiGPO until plain successes on enough distinct tasks have been seen, or the step cap
    mining           skills are mined and tested in paired groups until enough task types have an active skill, or the
                     step cap
    internalization  the same, and beneficial skill turns are distilled into the plain policy, until the run ends

The conditions are checked once, at the end of every step; a change takes effect with the next step. Every change is
recorded with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from siri_verl.failures import check_field

WARM_UP, MINING, INTERNALIZATION = "warm_up", "mining", "internalization"
PHASES = (WARM_UP, MINING, INTERNALIZATION)
STATE_VERSION = 1


class NoActiveSkillError(RuntimeError):
    """The mining phase reached its cap without one active skill."""


@dataclass
class PhaseSettings:
    """When phases end, and which are left out."""

    warm_up_tasks: int = 32
    """N_req: warm-up ends when plain trajectories have solved this many distinct tasks."""
    warm_up_max_steps: int = 30
    """Warm-up ends after this many steps at the latest."""
    active_share: float = 0.5
    """Mining ends when this share of the task types seen so far has an active skill."""
    mining_max_steps: int = 60
    """Mining ends after this many steps at the latest."""
    allow_empty: bool = False
    """False: no active skill at the end of mining stops the run, since there would be nothing to internalize."""
    skip: list[str] = field(default_factory=list)
    """Phases to leave out (ablations). Without internalization, mining lasts to the end."""
    fixed: str | None = None
    """Stay in this phase from the first step to the last (ablations)."""

    def __post_init__(self) -> None:
        block, names, skip = "siri.phases", ", ".join(PHASES), set(self.skip)
        for name, phase in (("warm_up_tasks", WARM_UP), ("warm_up_max_steps", WARM_UP), ("mining_max_steps", MINING)):
            check_field(self, f"{block}.{name}", getattr(self, name) >= 1, f"use at least 1, or skip=[{phase}]")
        check_field(self, f"{block}.active_share", 0 < self.active_share <= 1, "use a share in (0, 1]")
        check_field(self, f"{block}.skip", skip <= set(PHASES), f"use phases out of {names}")
        check_field(self, f"{block}.skip", skip < set(PHASES), "leaves no phase; use fixed=warm_up for plain GiGPO")
        known, alone = self.fixed is None or self.fixed in PHASES, self.fixed is None or not self.skip
        check_field(self, f"{block}.fixed", known, f"use null or one of {names}")
        check_field(self, f"{block}.fixed", alone, f"a fixed phase and skip={self.skip} exclude each other")


@dataclass(frozen=True)
class Census:
    """Counts of the skills and task types in the bank.

    Attributes:
        candidate, active, retired, internalized: skills by status.
        types: task types seen so far.
        active_types: those of them with an active or an internalized skill.
    """

    candidate: int = 0
    active: int = 0
    retired: int = 0
    internalized: int = 0
    types: int = 0
    active_types: int = 0

    def __str__(self) -> str:
        internalized = f", {self.internalized} internalized" if self.internalized else ""
        return (
            f"{self.candidate} candidate, {self.active} active, {self.retired} retired{internalized} skills; "
            f"{self.active_types} of {self.types} task types have an active one"
        )


@dataclass(frozen=True)
class PhaseMove:
    """One change of phase: `after` is the phase from the step after `step` on."""

    step: int
    before: str
    after: str
    reason: str


class PhaseMachine:
    """The phase of the run and its history. Serialisable with `to_dict` / `from_dict`."""

    def __init__(self, settings: PhaseSettings):
        self.settings = settings
        self.phase = settings.fixed or next(p for p in PHASES if p not in settings.skip)
        self.steps = 0
        """Steps finished in the current phase."""
        self.updates = 0
        """Updates of the internalization phase so far: k of the lambda schedule."""
        self.solved: set[str] = set()
        """Tasks solved by plain trajectories."""
        self.moves: list[PhaseMove] = []

    @property
    def pairs_groups(self) -> bool:
        """Whether skills are mined, shown and tested in this phase."""
        return self.phase != WARM_UP

    @property
    def internalizes(self) -> bool:
        """Whether the distillation term is on in this phase."""
        return self.phase == INTERNALIZATION

    @property
    def index(self) -> int:
        """0, 1 or 2: the phase as a metric."""
        return PHASES.index(self.phase)

    def next_update(self) -> int:
        """Count one update of the internalization phase and return its number k = 1, 2, ...

        Raises:
            RuntimeError: called in another phase.
        """
        if not self.internalizes:
            raise RuntimeError(f"phases: an internalization update was counted in phase {self.phase}")
        self.updates += 1
        return self.updates

    def end_step(self, step: int, plain_solved: Iterable[str], census: Census) -> PhaseMove | None:
        """Update the counts of the finished step, and change the phase if its end condition holds.

        Args:
            step: the step that just ended.
            plain_solved: ids of tasks that a plain trajectory solved in it.
            census: the bank after the step's decisions.

        Returns:
            The change of phase, if there was one.

        Raises:
            NoActiveSkillError: mining is over, no skill is active, and `allow_empty` is off.
        """
        self.solved.update(plain_solved)
        self.steps += 1
        if self.settings.fixed:
            return None
        reason = {WARM_UP: self._warm_up_over, MINING: self._mining_over, INTERNALIZATION: lambda census: None}[
            self.phase
        ](census)
        after = next((p for p in PHASES[self.index + 1 :] if p not in self.settings.skip), None)
        if reason is None or after is None:
            return None
        if self.phase == MINING and not census.active_types and not census.active and not self.settings.allow_empty:
            raise NoActiveSkillError(
                f"phases: {reason}, and no skill is active ({census}). Give mining more steps "
                "(siri.phases.mining_max_steps), look at why candidates fail (siri-verl skills history), or set "
                "siri.phases.allow_empty=true to continue without skills"
            )
        move = PhaseMove(step, self.phase, after, reason)
        self.moves.append(move)
        self.phase, self.steps = after, 0
        return move

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {
            "version": STATE_VERSION,
            "phase": self.phase,
            "steps": self.steps,
            "updates": self.updates,
            "solved": sorted(self.solved),
            "moves": [asdict(move) for move in self.moves],
        }

    @classmethod
    def from_dict(cls, settings: PhaseSettings, data: dict[str, Any]) -> PhaseMachine:
        """The machine of a checkpoint, under the settings of this run.

        Raises:
            ValueError: another version, a field is missing, or the settings exclude the phase the checkpoint is in.
        """
        if data.get("version") != STATE_VERSION:
            raise ValueError(f"phases: checkpoint state has version {data.get('version')!r}, expected {STATE_VERSION}")
        machine = cls(settings)
        try:
            phase = data["phase"]
            machine.steps, machine.updates = int(data["steps"]), int(data["updates"])
            machine.solved = set(data["solved"])
            machine.moves = [PhaseMove(**move) for move in data["moves"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"phases: checkpoint state is incomplete ({error})") from error
        allowed = [settings.fixed] if settings.fixed else [p for p in PHASES if p not in settings.skip]
        if phase not in allowed:
            raise ValueError(
                f"phases: the checkpoint is in phase {phase!r}, the settings allow {', '.join(map(str, allowed))}"
            )
        machine.phase = phase
        return machine

    def _warm_up_over(self, census: Census) -> str | None:
        s = self.settings
        if len(self.solved) >= s.warm_up_tasks:
            return f"plain trajectories have solved {len(self.solved)} distinct tasks (warm_up_tasks={s.warm_up_tasks})"
        if self.steps >= s.warm_up_max_steps:
            return f"{self.steps} steps of warm-up (warm_up_max_steps), {len(self.solved)} distinct tasks solved"
        return None

    def _mining_over(self, census: Census) -> str | None:
        s = self.settings
        if census.active_types and census.active_types >= s.active_share * census.types:
            share = f"{census.active_types} of {census.types} task types"
            return f"{share} have an active skill (active_share={s.active_share})"
        if self.steps >= s.mining_max_steps:
            return f"{self.steps} steps of mining (mining_max_steps)"
        return None
