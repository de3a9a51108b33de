# SPDX-License-Identifier: Apache-2.0
"""What the page shows. `siri_verl.report.build` makes it, `siri_verl.report.page` writes it as HTML."""

from __future__ import annotations

from dataclasses import dataclass, field

from siri_verl.core.phases import WARM_UP
from siri_verl.report.browser import Browser
from siri_verl.report.comparisons import Difference
from siri_verl.report.evaluations import EvaluationRow
from siri_verl.report.methods import Method
from siri_verl.report.pictures import Picture
from siri_verl.report.prompts import ArmPrompts
from siri_verl.report.reader import Run
from siri_verl.report.retests import Retest, RetestRow, side_by_side
from siri_verl.report.skills import Mined, SkillLife
from siri_verl.report.stages import Stage
from siri_verl.report.statistics import Estimate


@dataclass(frozen=True)
class MethodRow:
    """A line of the table at the top.

    Attributes:
        method: the method.
        color: of its curves.
        success: at the last validation.
        start: mean success at the first.
        area: under the curve over the environment steps that all runs cover.
        score: native score at the last validation.
        env_steps: mean over its runs.
        env_steps_ends: the smallest and the largest, where they differ.
        bank: mean counts over its runs; None where no run mined.
    """

    method: Method
    color: str
    success: Estimate | None
    start: float | None
    area: Estimate | None
    score: Estimate | None
    env_steps: float | None
    env_steps_ends: tuple[int, int] | None
    bank: dict[str, float] | None


@dataclass(frozen=True)
class RunPart:
    """A run's own part of the page.

    Attributes:
        run: the run.
        method: name of its method.
        pictures: section -> pictures.
        promoted: skills that were active at some time.
        tested: other skills that were shown in groups.
        waiting: skills that were never shown.
        mined: the outcome of the miner's answers.
        retests: skills tested again after the run.
        evaluations: of the run's models.
        stages: time of the training steps.
        prompts: of both arms, at most 24.
        all_prompts: number of prompts on disk.
    """

    run: Run
    method: str
    pictures: dict[str, list[Picture]]
    promoted: list[SkillLife]
    tested: list[SkillLife]
    waiting: list[SkillLife]
    mined: Mined
    retests: list[Retest]
    evaluations: list[EvaluationRow]
    stages: list[Stage]
    prompts: list[ArmPrompts]
    all_prompts: int

    @property
    def only_warm_up(self) -> bool:
        """Whether the run never left warm-up, as runs of gigpo and grpo."""
        return all(span.phase == WARM_UP for span in self.run.spans)

    @property
    def retest_rows(self) -> list[RetestRow]:
        """The skills of its re-tests, side by side."""
        return side_by_side(self.retests)

    @property
    def largest_utility(self) -> float:
        """The largest absolute utility of its skills at any time: the common scale of their lines."""
        lives = [*self.promoted, *self.tested]
        return max((abs(value) for life in lives for value in life.path.utility), default=0.0) or 1.0


@dataclass(frozen=True)
class Report:
    """The whole page.

    Attributes:
        title: of the page.
        headline: what the runs show, in sentences.
        methods: of the runs, in order of appearance.
        rows: the table at the top, one row per method.
        budget: environment steps that all curves cover (from, to).
        compared: differences of methods.
        differing: setting -> its value in each method.
        curves: learning curves.
        kinds: learning curves by kind of task.
        parts: the runs shown in full.
        left_out: names of the other runs.
        browser: trajectories.
        notes: what limits the comparison of the runs.
    """

    title: str
    headline: list[str]
    methods: list[Method]
    rows: list[MethodRow]
    budget: tuple[float, float] | None
    compared: list[Difference]
    differing: dict[str, list[str]]
    curves: list[Picture]
    kinds: list[Picture]
    parts: list[RunPart]
    left_out: list[str]
    browser: Browser
    notes: list[str] = field(default_factory=list)

    @property
    def without_counts(self) -> bool:
        """Whether some validation has kinds of task whose number of episodes is unknown."""
        points = [point for run in self.runs for point in run.curve]
        return any(point.by_category.keys() - point.category_episodes.keys() for point in points)

    @property
    def runs(self) -> list[Run]:
        """All runs, by method and seed."""
        return [run for method in self.methods for run in method.runs]
