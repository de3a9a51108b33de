# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from support.tiny_catalog import record
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.envs.base import EpisodeOverError, UnknownSplitError, UnknownTaskError
from siri_verl.envs.checker import check_text_env
from siri_verl.envs.panels import make_panel
from siri_verl.envs.registry import make_environment
from siri_verl.envs.webshop import Catalog, DataError, score_purchase
from siri_verl.envs.webshop.env import shared_catalog

SHIRT = "B000000001"


def goal_of(shop, words):
    return next(goal for goal in shop.goals.values() if words in goal.instruction)


def play(env, *actions):
    for action in actions:
        answer = env.step(action)
        assert answer[4]["action_admissible"], action
    return answer


@pytest.mark.parametrize("text", ["original", "rich", "compact"])
def test_gymnasium_checker_passes(shop_store, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make("siri_verl/WebShop-v0", store=shop_store, text=text, render_mode="ansi").unwrapped)


def test_own_checker_passes(shop_store):
    report = check_text_env(make_environment("webshop", store=shop_store), episodes=8)
    assert report.tasks == 4
    assert report.episodes == 8
    assert not report.warnings
    assert report.endings["unfinished"] == 0


def test_the_right_purchase_is_a_success(shop_store, shop):
    env = gymnasium.make("siri_verl/WebShop-v0", store=shop_store)
    goal = goal_of(shop, "navy")
    observation, info = env.reset(options={"task_id": goal.id})
    assert info["task"] == goal.instruction and info["category"] == "fashion"
    options = goal.goal_options.values() if isinstance(goal.goal_options, dict) else goal.goal_options
    assert info["answers"] == [goal.asin, *options] and len(info["answers"]) >= 2
    _, reward, terminated, truncated, info = play(
        env,
        "search[navy oxford shirt]",
        f"click[{SHIRT.lower()}]",
        "click[small]",
        "click[navy | blue]",
        "click[buy now]",
    )
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info["success"] is True
    assert info["score"] == 1.0
    assert info["score_parts"]["option_share"] == 1.0 and info["score_parts"]["type_backend"] == "rules"
    assert f"bought {SHIRT} (the goal's own product)" in info["explanation"] and "missing" not in info["explanation"]


def test_a_partial_purchase_gets_the_score_of_score_purchase(shop_store, shop):
    env = gymnasium.make("siri_verl/WebShop-v0", store=shop_store)
    goal = goal_of(shop, "navy")
    env.reset(options={"task_id": goal.id})
    _, reward, terminated, _, info = play(
        env, "search[navy oxford shirt]", f"click[{SHIRT.lower()}]", "click[x-large]", "click[buy now]"
    )
    product = shop[SHIRT]
    expected = score_purchase(goal, product, {"size": "x-large"}, product.price).total
    assert terminated
    assert reward == info["score"] == expected == pytest.approx(2 / 4)
    assert not info["success"]
    words = info["explanation"]
    assert "0 of 2 options, missing " in words and "navy" in words and "small" in words
    assert "1 of 1 attribute;" in words and "within the limit" in words


def test_rewards_come_at_the_purchase_only_and_turns_run_out(shop_store, shop):
    env = gymnasium.make("siri_verl/WebShop-v0", store=shop_store, max_turns=4)
    env.reset(seed=0)
    for turn, action in enumerate(["search[shirt]", "", "click[next >]", "nonsense"]):
        _, reward, terminated, truncated, info = env.step(action)
        assert reward == 0
        assert not terminated
        assert truncated == (turn == 3)
        assert not info["success"]
        assert info["action_admissible"] == (action in ("search[shirt]", "click[next >]"))
        assert info.get("explanation") == ("nothing was bought" if turn == 3 else None)
    with pytest.raises(EpisodeOverError):
        env.step("search[shirt]")
    env.reset(options={"task_id": goal_of(shop, "navy").id})
    play(env, "search[oxford shirt]", f"click[{SHIRT.lower()}]", "click[small]")
    _, reward, terminated, truncated, _ = env.step("click[buy now]")
    assert terminated, "buying on the last turn still counts"
    assert not truncated, "buying on the last turn still counts"
    assert reward > 0, "buying on the last turn still counts"


def test_splits_choose_the_tasks(shop_store, shop):
    names = gymnasium.make("siri_verl/WebShop-v0", store=shop_store).unwrapped.split_names()
    assert names == ["by_product/train", "by_product/validation", "by_product/test"], "too few goals for the others"
    seen = []
    for name in names:
        env = gymnasium.make("siri_verl/WebShop-v0", store=shop_store, split=name)
        mine = env.unwrapped.task_ids()
        assert {env.reset(seed=seed)[1]["task_id"] for seed in range(20)} <= set(mine)
        seen += mine
    assert sorted(seen) == sorted(shop.goals)
    other = next(goal for goal in seen if goal not in mine)
    with pytest.raises(UnknownTaskError, match=f"'{other}' is none of the {len(mine)} of split 'by_product/test'"):
        env.reset(options={"task_id": other})
    with pytest.raises(UnknownSplitError, match="'test' is unknown.*expected '<split>/<part>'.*this store has"):
        gymnasium.make("siri_verl/WebShop-v0", store=shop_store, split="test")
    with pytest.raises(UnknownSplitError, match="official"):
        gymnasium.make("siri_verl/WebShop-v0", store=shop_store, split="official/train")


def test_wrong_input_is_named(shop_store, tmp_path):
    with pytest.raises(DataError, match="manifest.json is missing"):
        make_environment("webshop", store=tmp_path)
    with pytest.raises(ValueError, match="setting 'store' is missing; pass the directory"):
        make_environment("webshop")
    with pytest.raises(ValueError, match="max_turns: got 1"):
        make_environment("webshop", store=shop_store, max_turns=1)
    env = make_environment("webshop", store=shop_store)
    with pytest.raises(UnknownTaskError, match="'nope' is none of the 4 goals"):
        env.reset(options={"task_id": "nope"})
    with pytest.raises(TypeError, match="expected a string, got int 3"):
        env.reset(options={"task_id": 3})


def test_one_catalogue_per_process(shop_store):
    first, second = (make_environment("webshop", store=shop_store).unwrapped for _ in range(2))
    assert first.catalog is second.catalog is shared_catalog(str(shop_store))


def test_registering_loads_no_environment():
    code = """
import sys, siri_verl.envs, gymnasium
assert {"siri_verl/WebShop-v0", "siri_verl/Toy-v0"} <= set(gymnasium.registry)
heavy = {"siri_verl.envs.webshop", "siri_verl.envs.toy", "ray", "verl", "torch"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_panels_can_leave_out_goals_that_nobody_can_solve(tmp_path):
    """The chosen "old fashioned" is read as the colour "ash", the goal's is not."""
    wanted = {"instruction": "find me a cup", "instruction_attributes": ["machine wash"]}
    options = {"flavor name": [{"value": "old fashioned"}, {"value": "plain"}]}
    content = {
        "products": [record("B01", "Cup", customization_options=options)],
        "attributes": {"B01": {"attributes": ["machine wash"], **wanted}},
    }
    for role, value in content.items():
        (tmp_path / f"{role}.json").write_text(json.dumps(value))
    out = ["--out", str(tmp_path / "store")]
    files = [word for role in content for word in (f"--{role}", str(tmp_path / f"{role}.json"))]
    done = CliRunner().invoke(app, ["data", "webshop", *files, *out], env={"COLUMNS": "300"})
    assert "1 of 2 synthetic goals score less than 1" in done.output and "50.0% success" in done.output
    store = {"store": str(tmp_path / "store")}
    every, solvable = (make_panel("webshop", store, None, solvable=only).task_ids for only in (False, True))
    assert len(every) == 2 and len(solvable) == 1
    goals = Catalog.open(tmp_path / "store").goals
    assert [goals[task_id].goal_options for task_id in solvable] == [{"flavor name": "plain"}]
