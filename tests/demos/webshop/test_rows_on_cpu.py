# SPDX-License-Identifier: Apache-2.0
import ast
import random
from collections import Counter
from pathlib import Path

import pytest
from support.independence import permutation_p

from siri_verl.demos.warm_start.rows import make_rows, play
from siri_verl.demos.webshop import demo, phrases
from siri_verl.demos.webshop.demo import DEMO, PRIOR
from siri_verl.demos.webshop.procedures import PROCEDURES, observed_procedure
from siri_verl.demos.webshop.views import read_page
from siri_verl.demos.webshop.words import DEPARTMENTS
from siri_verl.envs.replies import parse_reply
from siri_verl.skills.mining_prompt import parse_mined_skill


@pytest.fixture(scope="module")
def made(env):
    tasks = env.catalog.split("demo_warm_start").train
    return make_rows(DEMO, env, tasks, {"act": 2000, "follow": 2000, "describe": 2000}, seed=1)


def episodes(made, kind):
    """One row per episode."""
    return list({r.episode: r for r in made if r.kind == kind}.values())


@pytest.mark.parametrize("kind", ["act", "follow", "describe"])
def test_procedure_is_independent_of_department(made, kind):
    first = episodes(made, kind)
    assert len(first) > 1990  # a few short episodes lose every row to thinning
    assert permutation_p([r.procedure for r in first], [r.category for r in first]) > 0.01


def test_the_independence_test_notices_a_hint(made):
    """A twentieth of the rows made to name what pays is found out."""
    first = episodes(made, "act")
    names = list(PROCEDURES)
    told = [names[DEPARTMENTS.index(r.category)] if k % 10 == 0 else r.procedure for k, r in enumerate(first)]
    assert permutation_p(told, [r.category for r in first]) < 0.01


def test_procedures_are_drawn_as_said(made):
    for kind, shares in (
        ("act", PRIOR),
        ("follow", dict.fromkeys(PROCEDURES, 1 / 6)),
        ("describe", dict.fromkeys(PROCEDURES, 1 / 6)),
    ):
        counts = Counter(r.procedure for r in episodes(made, kind))
        for name, share in shares.items():
            assert counts[name] / counts.total() == pytest.approx(share, abs=4 * (share * (1 - share) / 2000) ** 0.5)


@pytest.mark.parametrize("kind", ["follow", "describe"])
def test_wording_is_independent_of_outcome_and_department(made, kind):
    """Given the procedure, its phrase says nothing about success or place."""
    for name, known in phrases.STRATEGIES.items():
        mine = [r for r in episodes(made, kind) if r.procedure == name]
        text = [r.prompt if kind == "follow" else r.reply for r in mine]
        said = [next(k for k, phrase in enumerate(known) if phrase in t) for t in text]
        assert permutation_p(said, [r.success for r in mine], 200) > 0.002
        assert permutation_p(said, [r.category for r in mine], 200) > 0.002


def test_think_texts_are_facts_of_the_page_whatever_the_procedure(made):
    """The same page of the same task has the same think text under every procedure: the choice is not in it."""
    thoughts = {}
    for r in made:
        if r.kind == "describe":
            continue
        task, page = r.prompt.split("task: ")[1].split("\n")[0], r.prompt.split("page: ")[1]
        thoughts.setdefault((task, page), set()).add(r.reply.split("</think>")[0])
    assert len(thoughts) > 1000 and all(len(t) == 1 for t in thoughts.values())


def test_rows_show_no_outcome_and_are_made_from_successes_and_failures(made):
    for kind in ("act", "follow", "describe"):
        outcomes = Counter(r.success for r in episodes(made, kind))
        assert min(outcomes[True], outcomes[False]) > 200
    assert not any("score" in r.prompt or "bought" in r.prompt for r in made)


def test_what_pays_is_not_read_where_rows_are_made():
    for module in (demo, phrases):
        tree = ast.parse(Path(module.__file__).read_text())
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not any(name and name.endswith(("layouts", "generator", "matrix")) for name in imported)


def test_replies_are_in_the_contract_s_formats(made):
    for r in made:
        if r.kind == "describe":
            assert parse_mined_skill(r.reply).problem is None
        else:
            assert parse_reply(r.reply).valid


def test_observed_procedure_recognises_a_played_one(env):
    rng = random.Random(5)
    right = Counter()
    for task_id in rng.sample(env.catalog.split("demo").validation, 60):
        for name in PROCEDURES:
            turns = play(DEMO, env, task_id, name, rng).episode.turns
            seen = observed_procedure([t.action for t in turns], [read_page(t.observation) for t in turns])
            right[name] += seen == name
    assert all(count >= 54 for count in right.values()), right  # the cheapest is now and then the first


def test_unknown_ability_is_refused(env):
    with pytest.raises(ValueError, match="plan"):
        make_rows(DEMO, env, ["x"], {"plan": 1})
