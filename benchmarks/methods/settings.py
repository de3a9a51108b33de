# SPDX-License-Identifier: Apache-2.0
"""The settings of the comparison of published methods, committed before the final seeds are run.

Every method starts from the same warm-started model and ends at the same number of environment steps. `overrides` of a
method are what development seeds chose where the published value is for another scale: at most three trials a method,
all of them in development/.
"""

from __future__ import annotations

from benchmarks.siri_vs_gigpo.settings import ENVIRONMENTS, PHASE_0, TRAINED, WARM_START, Method, Protocol

FINAL_SEEDS, DEV_SEEDS = (301, 302, 303), (1, 2, 3)
WITH_SKILLS = "_with_skills"
"""Suffix of the row that shows a method's trained policy the best active skill of its bank."""


def trained(group: str, *overrides: str, start: str = WARM_START) -> Method:
    """A method with a schedule of its own, from the warm-started model on."""
    return Method(group, overrides, seeds=len(FINAL_SEEDS), start=start)


TRAINING = {
    # GiGPO and SIRI have their first phase in common, which is run once per seed.
    "gigpo": trained("gigpo", start=PHASE_0),
    "siri": trained("", start=PHASE_0),
    "siri_empty_context": trained("empty_context", start=PHASE_0),
    "spear": trained("spear"),
    "sdar": trained("sdar"),
    "seed": trained("seed"),
    "skill_sd": trained("skill_sd"),
    "opid": trained("opid"),
    "rlsd": trained("rlsd"),
    "grsd": trained("grsd"),
    "sdpo": trained("sdpo"),
    "ucob": trained("ucob"),
    "skill_0_5": trained("skill_0_5"),
    # A third of the iterations that the budget allows.
    "skill0": trained("skill0", "siri.curriculum.stage_steps=23"),
    "slim": trained("slim"),
    "bayesian_agent": trained("bayesian_agent", start=PHASE_0),
    "evolving": trained("evolving"),
    "sage": trained("sage"),
}
TESTED = ("siri", "ucob", "skill_0_5", "skill0", "slim", "bayesian_agent", "evolving", "sage")
"""Methods whose bank has active skills: their gap is measured."""
METHODS = TRAINING | {f"{name}{WITH_SKILLS}": Method(seeds=len(FINAL_SEEDS), start=TRAINED, of=name) for name in TESTED}
PROTOCOL = Protocol(
    "methods",
    METHODS,
    FINAL_SEEDS,
    DEV_SEEDS,
    {"webshop": ENVIRONMENTS["webshop"]},
    one_fingerprint=False,
)
