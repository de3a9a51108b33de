# SPDX-License-Identifier: Apache-2.0
"""The settings of the comparison, in one place and committed before the final seeds are run.

A final run is refused while this file differs from the commit. Everything is tuned on DEV_SEEDS and development tasks,
for GiGPO with as many trials as for SIRI.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from omegaconf import OmegaConf

import siri_verl

PRESETS = Path(siri_verl.__file__).parent / "conf" / "siri"

FINAL_SEEDS = (101, 102, 103, 104, 105)
"""In this order; a method with three seeds takes the first three."""
DEV_SEEDS = (1, 2, 3, 4)

PHASE_0, WARM_START, TRAINED = "phase_0", "warm_start", "trained"


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        group: configuration group of the method; empty for SIRI itself.
        overrides: further settings, in Hydra's words; `{tokens}` and `{mining_steps}` are the numbers of the run of
            `of`.
        seeds: how many of FINAL_SEEDS it is run with.
        start: `phase_0` forks the seed's common first phase; `warm_start` begins with the warm-started model;
            `trained` trains nothing and evaluates the policy that `of` trained.
        of: the method whose run of the same seed this one needs.
    """

    group: str = ""
    overrides: tuple[str, ...] = ()
    seeds: int = 5
    start: str = PHASE_0
    of: str = ""

    @property
    def plain(self) -> bool:
        """Whether the run stays in its first phase."""
        return self.group in ("gigpo", "grpo")


METHODS = {
    "gigpo": Method("gigpo"),
    "siri": Method(),
    "siri_random_skills": Method("random_skills"),
    "gigpo_self_imitation": Method(
        "self_imitation",
        ("siri.control.self_imitation_tokens={tokens}", "siri.phases.mining_max_steps={mining_steps}"),
        of="siri",
    ),
    # From the warm-started model, not from phase 0: its first iterations would be GiGPO's otherwise. Its environment
    # steps are counted from there, like everyone's.
    "grpo": Method("grpo", seeds=3, start=WARM_START),
    "siri_no_internalization": Method("no_internalization", seeds=3),
    "siri_no_gate": Method("no_gate", seeds=3),
    # The policy that siri trained, with the best active skills of its bank in the prompt.
    "siri_skills_in_prompt": Method(seeds=3, start=TRAINED, of="siri"),
}
"""By the name that `siri.method` has."""


@dataclass(frozen=True)
class Environment:
    """What is compared on.

    Attributes:
        groups: configuration groups of every run.
        overrides: settings of every run.
        budget: environment steps; a run ends with the first iteration at or past it, and is evaluated as it is then.
        train, development, test: splits. Runs validate on a part of `development`; `test` is for final seeds alone.
        validation_tasks: how many tasks the curves are made of.
        test_tasks: how many tasks a finished run is measured on (None: the whole split).
        repeats: episodes per task.
    """

    groups: tuple[str, ...]
    overrides: tuple[str, ...]
    budget: int
    train: str
    development: str
    test: str
    validation_tasks: int
    test_tasks: int | None
    repeats: int

    def fingerprint(self, extra: Sequence[str] = (), methods: Mapping[str, Method] = METHODS) -> str:
        """A hash of the settings that decide the numbers of runs of these methods."""
        of_methods = [method.group for method in methods.values() if method.group]
        files = [PRESETS / f"{group}.yaml" for group in ("base", *self.groups, *of_methods)]
        presets = [OmegaConf.to_container(OmegaConf.load(file)) for file in files]  # comments decide nothing
        methods = {name: asdict(method) | {"seeds": None} for name, method in methods.items()}
        content = json.dumps([asdict(self), methods, list(extra), presets], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


ENVIRONMENTS = {
    "webshop": Environment(
        groups=("webshop", "cpu", "cpu_small", "webshop_demo"),
        overrides=(
            # The checkpoint that counts is the last one, at the budget; earlier ones are for going on after a stop.
            "trainer.total_training_steps=10000",
            "trainer.test_freq=10",
            "trainer.save_freq=20",
            # A run without a useful skill is a result.
            "siri.phases.allow_empty=true",
        ),
        budget=20_000,
        train="demo/train",
        development="demo/validation",
        test="demo/test",
        validation_tasks=192,
        test_tasks=None,
        repeats=2,
    )
}


@dataclass(frozen=True)
class Protocol:
    """A comparison.

    Attributes:
        folder: its folder below benchmarks/, with settings.py and, once runs are finished, its results.
        methods: by the name that `siri.method` has.
        final_seeds, dev_seeds: of all methods.
        environments: what is compared on.
        one_fingerprint: all rows of a results file share one hash of the settings of all methods. False: each method's
            rows have their own, so that a method can be added or changed without running the others again.
    """

    folder: str
    methods: Mapping[str, Method]
    final_seeds: tuple[int, ...]
    dev_seeds: tuple[int, ...]
    environments: Mapping[str, Environment]
    one_fingerprint: bool = True

    @property
    def home(self) -> Path:
        """The folder itself."""
        return Path(__file__).resolve().parents[1] / self.folder

    def fingerprints(self, environment: str, extra: Sequence[str] = ()) -> dict[str, str]:
        """Method -> the hash of the settings that decide its numbers.

        Args:
            environment: its name.
            extra: overrides of a trial.
        """
        of = self.environments[environment]
        if self.one_fingerprint:
            return dict.fromkeys(self.methods, of.fingerprint(extra, self.methods))
        return {name: of.fingerprint(extra, self._with_compared(name)) for name in self.methods}

    def _with_compared(self, name: str) -> dict[str, Method]:
        """The method, and the one whose run it needs."""
        names = [name, *filter(None, [self.methods[name].of])]
        return {each: self.methods[each] for each in names}


SIRI_VS_GIGPO = Protocol("siri_vs_gigpo", METHODS, FINAL_SEEDS, DEV_SEEDS, ENVIRONMENTS)
