# SPDX-License-Identifier: Apache-2.0
import json
from itertools import combinations

import pytest
from rapidfuzz import fuzz
from support.procedure_matrix import procedure_matrix

from siri_verl.demos.webshop import words
from siri_verl.demos.webshop.generator import MIN_PRODUCTS, PANELS, generate
from siri_verl.demos.webshop.procedures import PROCEDURES
from siri_verl.envs.webshop.search import analyze
from siri_verl.envs.webshop.splits import product_of

WINNER = {
    "closet": "choose_options",
    "kitchen": "buy_at_once",
    "garden": "take_cheapest",
    "bath": "check_features",
    "pets": "second_page",
    "office": "precise_query",
}


def test_the_same_seed_writes_the_same_files(tmp_path, catalogue):
    small = {"products": MIN_PRODUCTS}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(tmp_path / name, seed=seed, **small)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / "official").iterdir())
    assert len(files) == 3
    for file in [*files, PANELS]:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert (tmp_path / "a" / file).read_bytes() != (tmp_path / "c" / file).read_bytes()


def test_wrong_size_and_second_writing_are_refused(tmp_path, catalogue):
    with pytest.raises(ValueError, match="products: got 7"):
        generate(tmp_path, products=7)
    with pytest.raises(FileExistsError, match="overwrite"):
        generate(catalogue, products=MIN_PRODUCTS)


def test_panels_share_no_product_family_or_instruction(catalogue, env):
    panels = json.loads((catalogue / PANELS).read_text())
    assert len(env.catalog) >= 5000
    seen = {}
    for panel, departments in panels.items():
        ids = [i for listed in departments.values() for i in listed]
        assert set(departments) == set(words.DEPARTMENTS) and min(map(len, departments.values())) >= 40
        goals = [env.catalog.goals[i] for i in ids]
        mine = {
            "product": {product_of(i) for i in ids},
            "family": {g.query for g in goals},
            "instruction": {g.instruction for g in goals},
        }
        for other, known in seen.items():
            for kind in mine:
                assert not (mine[kind] & known[kind]), (panel, other, kind)
        seen[panel] = mine


def test_a_department_can_be_read_from_the_task_alone(catalogue, env):
    panels = json.loads((catalogue / PANELS).read_text())
    for departments in panels.values():
        for department, ids in departments.items():
            for i in ids:
                assert words.department_of(env.catalog.goals[i].instruction) == department


def test_words_do_not_match_each_other_in_search_or_scoring():
    for a, b in combinations(words.ATTRIBUTES, 2):
        assert fuzz.token_set_ratio(a, b) <= 85
        assert a not in b
        assert b not in a
    nouns = [n for listed in words.NOUNS.values() for n in listed]
    known = [
        *words.MODIFIERS,
        *nouns,
        *words.ATTRIBUTES,
        *words.BRANDS,
        *words.STYLES,
        *words.COLORS,
        *words.DEPARTMENTS,
    ]
    stems = [analyze(word) for word in known]
    assert all(len(s) == 1 for s in stems) and len({s[0] for s in stems}) == len(known)


@pytest.mark.parametrize("panel", ["train", "test"])
def test_in_every_department_another_procedure_wins(catalogue, panel):
    table = procedure_matrix(catalogue, panel)
    for department, row in table.items():
        assert row[WINNER[department]] == 1.0
        for procedure in PROCEDURES:
            if procedure == WINNER[department] or (department, procedure) == ("kitchen", "choose_options"):
                continue  # in the kitchen options do not count, and choosing them does no harm
            assert row[procedure] <= 0.3, (department, procedure, row)
    losing = [row["buy_at_once"] for department, row in table.items() if department != "kitchen"]
    assert max(losing) <= 0.3  # buying the first hit wins in the kitchen alone
