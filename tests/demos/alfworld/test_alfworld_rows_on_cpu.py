# SPDX-License-Identifier: Apache-2.0
"""Warm-start rows: the procedure shown depends on neither task type nor outcome; formats; lengths."""

import ast
from collections import Counter
from pathlib import Path

import pandas
import pytest
from support.independence import permutation_p

from siri_verl.demos.alfworld import demo, phrases
from siri_verl.demos.alfworld.demo import DEMO, PRIOR
from siri_verl.demos.alfworld.generator import write_games
from siri_verl.demos.alfworld.model import build_tokenizer, make_model
from siri_verl.demos.alfworld.procedures import IDLE, PROCEDURES
from siri_verl.demos.alfworld.settings import demo_env
from siri_verl.demos.alfworld.warm_start import WARM_START, AlfworldWarmStartSettings
from siri_verl.demos.warm_start.rows import ABILITIES, make_rows
from siri_verl.envs.alfworld.tasks import TASK_TYPES
from siri_verl.envs.replies import parse_reply
from siri_verl.skills.mining_prompt import parse_mined_skill

EPISODES = 500


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm") / "games"
    env = demo_env(write_games(folder, {"train": ("warm_start", 18)}, seed=1, rooms="small"))
    rows = make_rows(DEMO, env, env.task_ids(), dict.fromkeys(ABILITIES, EPISODES), seed=1)
    env.close()
    return rows


def episodes(made, kind):
    """One row per episode."""
    return list({r.episode: r for r in made if r.kind == kind}.values())


@pytest.mark.parametrize("kind", ABILITIES)
def test_procedure_is_independent_of_task_type(made, kind):
    first = episodes(made, kind)
    assert len(first) == EPISODES and {r.category for r in first} == set(TASK_TYPES)
    assert permutation_p([r.procedure for r in first], [r.category for r in first]) > 0.01


@pytest.mark.parametrize("kind", ABILITIES)
def test_procedures_are_drawn_as_said_whatever_the_outcome(made, kind):
    """No episode is dropped for its outcome: the shares are those of the draw."""
    shares = PRIOR if kind == "act" else dict.fromkeys(PROCEDURES, 1 / len(PROCEDURES))
    counts = Counter(r.procedure for r in episodes(made, kind))
    for name, share in shares.items():
        assert counts[name] / EPISODES == pytest.approx(share, abs=4 * (share * (1 - share) / EPISODES) ** 0.5)


def test_the_independence_test_notices_a_hint(made):
    """A fifth of the rows made to name what pays is found out."""
    first = episodes(made, "act")
    names = list(PROCEDURES)
    told = [names[TASK_TYPES.index(r.category)] if k % 5 == 0 else r.procedure for k, r in enumerate(first)]
    assert permutation_p(told, [r.category for r in first]) < 0.01


@pytest.mark.parametrize("kind", ["follow", "describe"])
def test_wording_is_independent_of_outcome_and_task_type(made, kind):
    """Given the procedure, its phrase says nothing about success or task type."""
    for name, known in phrases.STRATEGIES.items():
        mine = [r for r in episodes(made, kind) if r.procedure == name]
        text = [r.prompt if kind == "follow" else r.reply for r in mine]
        said = [next(k for k, phrase in enumerate(known) if phrase in t) for t in text]
        assert permutation_p(said, [r.success for r in mine], 500) > 0.002
        assert permutation_p(said, [r.category for r in mine], 500) > 0.002


def test_think_texts_are_facts_of_the_turn_whatever_the_procedure(made):
    """The same turn of the same task has the same think text under every procedure: the choice is not in it."""
    thoughts, actions = {}, {}
    for r in made:
        if r.kind == "describe":
            continue
        shown = r.prompt.split("task: ")[1]
        thoughts.setdefault(shown, set()).add(r.reply.split("</think>")[0])
        actions.setdefault(shown, set()).add(r.reply.split("</think>")[1])
    assert len(thoughts) > 500 and all(len(t) == 1 for t in thoughts.values())
    assert sum(len(a) > 2 for a in actions.values()) >= 10  # while the actions differ


def test_rows_are_made_from_successes_and_failures_and_show_no_outcome(made):
    for kind in ABILITIES:
        outcomes = Counter(r.success for r in episodes(made, kind))
        assert min(outcomes[True], outcomes[False]) > EPISODES / 10
    assert not any("won" in r.prompt.split() or "score" in r.prompt for r in made)


def test_what_pays_is_not_read_where_rows_are_made():
    for module in (demo, phrases):
        tree = ast.parse(Path(module.__file__).read_text())
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not any(name and name.endswith(("alfworld_demo.tasks", "games", "generator")) for name in imported)


def test_replies_are_in_the_contract_s_formats_and_idling_is_thinned(made):
    for r in made:
        if r.kind == "describe":
            assert parse_mined_skill(r.reply).problem is None
        else:
            assert parse_reply(r.reply).valid
    idle = sum(f"; {IDLE}\n" in r.prompt for r in made if r.kind == "act")
    assert 0 < idle < 0.15 * sum(r.kind == "act" for r in made)


def test_rows_fit_have_no_unknown_word_and_replies_survive_decoding(made):
    tokenizer = build_tokenizer()
    longest = Counter()
    for row in made[::3]:
        messages = [{"role": "user", "content": row.prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True)["input_ids"]
        reply = tokenizer.encode(row.reply, add_special_tokens=False)
        assert tokenizer.unk_token_id not in ids + reply, row
        assert tokenizer.decode(reply, skip_special_tokens=True) == row.reply
        longest[row.kind] = max(longest[row.kind], len(ids))
        assert len(reply) + 1 <= 28 and len(ids) + len(reply) + 1 <= WARM_START.max_length
    assert max(longest["act"], longest["follow"]) <= 200 and longest["describe"] <= 360


def test_the_model_fits_its_tokenizer(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parameters = make_model(tmp_path, seed=1)
    assert 200_000 < parameters < 1_000_000
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.vocab_size == len(
        AutoTokenizer.from_pretrained(tmp_path)
    )


def test_the_seed_decides_the_rows(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        WARM_START.write_rows(
            tmp_path / name, AlfworldWarmStartSettings(act=4, follow=4, describe=4, games=6, seed=seed)
        )
    a, b, c = (pandas.read_parquet(tmp_path / name) for name in "abc")
    assert a.astype(str).equals(b.astype(str)) and not a.astype(str).equals(c.astype(str))
