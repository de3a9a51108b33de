# SPDX-License-Identifier: Apache-2.0
"""Mining: the policy writes skills from its own successful plain trajectories.

Every `every` iterations a snapshot of the policy is asked, with a documented prompt
(`siri_verl.skills.mining_prompt`), to state the procedure behind some of its recent successful plain trajectories.
Answers are parsed strictly; malformed ones, ones that quote the source task, and duplicates are rejected and counted.

`Miner.requests` and `Miner.absorb` are the two halves around the request, for a caller whose generation is
asynchronous; `Miner.mine` is both with any `generate(prompts) -> texts`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from siri_verl.core.rules import ACTIVE, CANDIDATE
from siri_verl.core.seeding import derive_seed
from siri_verl.core.slim_rule import asks_for_skills
from siri_verl.endpoint import EndpointSettings
from siri_verl.failures import ConfigError, check_field, check_one_of
from siri_verl.skills.bank import Offer, SkillBank
from siri_verl.skills.condition import TypeWords
from siri_verl.skills.leaks import find_leak
from siri_verl.skills.mining_prompt import MINING_TEMPLATES, parse_mined_skill, render_mining_prompt
from siri_verl.skills.neutral import NEUTRAL
from siri_verl.skills.pool import SourceTrajectory, SuccessPool
from siri_verl.skills.random_summary import random_summary
from siri_verl.skills.skill import Provenance

Generate = Callable[[Sequence[str]], Sequence[str]]
"""Prompts (user messages) -> one answer each."""


@dataclass
class MinerEndpointSettings:
    """Another model than the policy as the miner, behind any OpenAI-compatible endpoint."""

    base_url: str | None = None
    """For example http://localhost:8000/v1; null: the policy mines its own skills."""
    model: str = ""
    """The model's name at the endpoint; every skill it writes names it as its miner."""
    api_key_env: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; null for a server that asks for none."""

    def __post_init__(self) -> None:
        if self.base_url is not None:
            self.endpoint()
        else:
            check_field(self, "siri.mining.endpoint.model", not self.model, "set siri.mining.endpoint.base_url too")

    def endpoint(self) -> EndpointSettings:
        """How the endpoint is asked.

        Raises:
            ConfigError: the address or the model's name is missing or wrong.
        """
        try:
            return EndpointSettings(self.base_url or "", self.model, self.api_key_env or "")
        except ConfigError as error:
            raise ConfigError(f"siri.mining.{error}") from error


@dataclass
class MiningSettings:
    """When and what is mined."""

    every: int = 5
    """I_mine: iterations between two rounds."""
    requests: int = 8
    """Trajectories a round asks about at most."""
    answers: int = 1
    """Answers asked for per trajectory. Where successes are rare, several wordings of one success are worth testing."""
    per_type: int = 4
    """Recent plain successes kept per task type to choose from."""
    during_warm_up: bool = False
    """Mine in the warm-up phase too, from the first iteration's successes on. The skills are candidates; they are
    tested once groups are paired."""
    near_misses: bool = False
    """A task type without a success so far is mined from its unsolved plain trajectories of the highest native
    score."""
    borrow: int = 0
    """Skills of other types, per round of mining, that enter a task type without a candidate or active skill as its
    candidates: active ones first, by utility."""
    condition_odds: float | None = None
    """A skill is turned away when another type's tasks make the words of its condition more than this many times
    likelier than those of its own type do. null: the condition is not checked."""
    only_uncovered: bool = False
    """Ask only about task types without a candidate or active skill, and where an active one fails often and none is
    useful (SLIM: siri_verl/core/slim_rule.py)."""
    max_tokens: int = 192
    """Longest answer."""
    template: str = "full"
    """Mining prompt: `full` for instruction-tuned models, `compact` for the small CPU model."""
    random_skills: bool = False
    """Control: once a skill is active, a random summary of its source trajectory is shown in its place."""
    neutral_skills: bool = False
    """Control: once a skill is active, a text of as many words that says nothing about the task is shown in its
    place."""
    endpoint: MinerEndpointSettings = field(default_factory=MinerEndpointSettings)

    @property
    def miner(self) -> str:
        """Who writes the skills, for their provenance: `policy` or the endpoint's model."""
        return "policy" if self.endpoint.base_url is None else self.endpoint.model

    def __post_init__(self) -> None:
        for name in ("every", "requests", "answers", "per_type", "max_tokens"):
            check_field(self, f"siri.mining.{name}", getattr(self, name) >= 1, "use at least 1")
        fix = "excludes siri.mining.random_skills; use one of the two controls"
        check_field(self, "siri.mining.neutral_skills", not (self.neutral_skills and self.random_skills), fix)
        check_field(self, "siri.mining.borrow", self.borrow >= 0, "use 0 or more")
        odds = self.condition_odds is None or self.condition_odds >= 1
        check_field(self, "siri.mining.condition_odds", odds, "use null or at least 1")
        check_one_of("siri.mining.template", self.template, tuple(MINING_TEMPLATES))


@dataclass(frozen=True)
class MiningRequest:
    """One question: the prompt, and the episode it is about."""

    prompt: str
    episode: SourceTrajectory


@dataclass
class MiningReport:
    """The result of a round of mining.

    Attributes:
        step: the training step.
        requests: answers asked for.
        entered: ids of the new skills.
        written: id of a new skill -> number of the request whose answer it is.
        borrowed: ids of copies of other task types' skills.
        problems: reason -> number of answers rejected for it: the parser's problems, `leak`, `condition_of_other_type`
            and the bank's.
        leaks: what the rejected answers quoted.
        neutralised: control tokens taken out of answers.
    """

    step: int
    requests: int = 0
    entered: list[str] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    borrowed: list[str] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)
    neutralised: int = 0

    def metrics(self) -> dict[str, float]:
        """Numbers for the log."""
        turned_away = {f"turned_away/{name}": float(count) for name, count in sorted(self.problems.items())}
        counts = {"requests": self.requests, "entered": len(self.entered), "neutralised": self.neutralised}
        counts |= {"borrowed": len(self.borrowed)} if self.borrowed else {}
        return {name: float(count) for name, count in counts.items()} | turned_away


class Miner:
    """Asks for skills and enters them into a bank."""

    def __init__(self, settings: MiningSettings, seed: int, miner: str = "policy", words: TypeWords | None = None):
        """
        Args:
            settings: when and what.
            seed: the run's seed; every choice derives from it and the step.
            miner: who answers, for the skills' provenance: `policy` or an endpoint's model name.
            words: of the tasks met so far, for `condition_odds`.
        """
        self.settings = settings
        self.seed = seed
        self.miner = miner
        self.words = words or TypeWords()

    def due(self, step: int) -> bool:
        """Whether a round takes place at a step (counted from 1)."""
        return step % self.settings.every == 0

    def requests(self, pool: SuccessPool, bank: SkillBank, step: int) -> list[MiningRequest]:
        """The questions of a round, each `answers` times in a row; their episodes leave the pool.

        Task types take turns, those without an active skill first, then those with fewer candidates; types whose
        candidates are at the bank's cap are passed over. Within a type, tasks come in a seeded random order, one
        episode per task.
        """
        rng = random.Random(derive_seed(self.seed, "mine", step))
        template = MINING_TEMPLATES[self.settings.template]
        queues: list[tuple[tuple[bool, int, str], list[SourceTrajectory]]] = []
        for name in pool.types():
            waiting = len(bank.of_type(name, CANDIDATE))
            if waiting < bank.settings.max_candidates_per_type and self._asks(bank, name, step):
                by_task = {episode.task_id: episode for episode in pool.of_type(name)}
                episodes = list(by_task.values())
                rng.shuffle(episodes)
                queues.append(((bool(bank.of_type(name, ACTIVE)), waiting, name), episodes))
        queues.sort(key=lambda entry: entry[0])
        chosen: list[SourceTrajectory] = []
        while len(chosen) < self.settings.requests and any(episodes for _, episodes in queues):
            for _, episodes in queues:
                if episodes and len(chosen) < self.settings.requests:
                    chosen.append(episodes.pop())
        pool.remove(chosen)
        near_miss = template.near_miss or template
        asked = [
            MiningRequest(render_mining_prompt(e.task, e.turns, template if e.success else near_miss), e)
            for e in chosen
        ]
        return [request for request in asked for _ in range(self.settings.answers)]

    def _asks(self, bank: SkillBank, task_type: str, step: int) -> bool:
        """Whether a task type needs skills; without `only_uncovered` every one does."""
        if not self.settings.only_uncovered:
            return True
        return asks_for_skills((s.state for s in bank.skills.values() if s.task_type == task_type), step)

    def absorb(
        self, requests: Sequence[MiningRequest], answers: Sequence[str], bank: SkillBank, step: int
    ) -> MiningReport:
        """Parse the answers and enter the usable skills into the bank.

        Raises:
            ValueError: there is not one answer per request.
        """
        if len(answers) != len(requests):
            raise ValueError(
                f"mining: {len(answers)} answers to {len(requests)} requests; generate returns one text per prompt"
            )
        report = MiningReport(step, requests=len(requests))
        for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            entry = self._enter(request.episode, answer, bank, step, report)
            if entry is not None:
                report.neutralised += entry.neutralised
                if entry.skill is None:
                    report.problems[entry.problem] += 1
                else:
                    report.entered.append(entry.skill.skill_id)
                    report.written[entry.skill.skill_id] = number
        return report

    def mine(self, pool: SuccessPool, bank: SkillBank, step: int, generate: Generate) -> MiningReport:
        """One round: choose, ask, read, enter."""
        requests = self.requests(pool, bank, step)
        answers = generate([request.prompt for request in requests]) if requests else []
        return self.absorb(requests, answers, bank, step)

    def _enter(
        self, episode: SourceTrajectory, answer: str, bank: SkillBank, step: int, report: MiningReport
    ) -> Offer | None:
        mined = parse_mined_skill(answer, bank.settings)
        if mined.problem is not None:
            report.problems[mined.problem] += 1
            return None
        leak = find_leak(f"{mined.condition} {mined.strategy}", episode)
        if leak:
            report.problems["leak"] += 1
            report.leaks.append(leak)
            return None
        odds = self.settings.condition_odds
        if odds is not None and not self.words.fits(mined.condition, episode.task_type, odds):
            report.problems["condition_of_other_type"] += 1
            return None
        control = NEUTRAL if self.settings.neutral_skills else ""
        if self.settings.random_skills:
            control = random_summary(episode, derive_seed(self.seed, "random_summary", step, episode.trajectory))
        source = Provenance(episode.task_id, episode.trajectory, step, self.miner)
        return bank.add(mined.condition, mined.strategy, episode.task_type, source, control=control)
