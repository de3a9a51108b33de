# SPDX-License-Identifier: Apache-2.0
"""The generated games: layout, determinism, disjoint splits, and that they are won."""

import json
import random
import re
from collections import Counter
from itertools import combinations

import pytest

from siri_verl.demos.alfworld import generator
from siri_verl.demos.alfworld.check import UnwinnableGameError, check_games, require_won
from siri_verl.demos.alfworld.games import make_game, spoken_names, walkthrough
from siri_verl.demos.alfworld.generator import GAME, generate, make_games, write_game, write_games
from siri_verl.demos.alfworld.pddl import facts
from siri_verl.demos.alfworld.rooms import SMALL_ROOM_RECEPTACLES, object_type
from siri_verl.demos.alfworld.tasks import PANELS, TOOLS, UNSEEN_ROOMS, panel_tasks
from siri_verl.demos.alfworld.wheel import affordances, floor_plan, room_numbers
from siri_verl.envs.alfworld.tasks import LOOK, TASK_TYPES, TWO

FOLDER = re.compile(r"([a-z_]+)-([A-Za-z]+)-None-([A-Za-z]+)-(\d+)/trial_\w+")


@pytest.fixture(scope="module", params=["small", "full"])
def many(request):
    """Games of every panel, in memory."""
    return {panel: list(make_games(panel, 60, seed=5, rooms=request.param)) for panel in PANELS}


def test_layout_is_the_official_one(games):
    found = Counter()
    for path in games.rglob(GAME):
        split, name = path.relative_to(games / "json_2.1.1").as_posix().split("/", 1)
        task_type, thing, place, room = FOLDER.fullmatch(name.removesuffix(f"/{GAME}")).groups()
        found[split, task_type] += 1
        data = json.loads((path.parent / "traj_data.json").read_text())
        params = data["pddl_params"]
        assert data["task_type"] == task_type and data["scene"]["floor_plan"] == f"FloorPlan{room}"
        assert data["task_id"] == path.parent.name and params["object_target"] == thing
        assert params["mrecep_target"] == "" and params["object_sliced"] is False
        lit = task_type == LOOK
        assert (params["toggle_target"], params["parent_target"]) == ((place, "") if lit else ("", place))
        game = json.loads(path.read_text())
        assert game["pddl_problem"] == (path.parent / "initial_state.pddl").read_text() and game["solvable"] is True
        sentence = data["turk_annotations"]["anns"][0]["task_desc"]
        assert f"Your task is to: {sentence}." in game["grammar"] and "UNKNOWN GOAL" not in game["grammar"]
    assert found == {(s, t): n for s, n in (("train", 4), ("valid_seen", 1), ("valid_unseen", 1)) for t in TASK_TYPES}
    index = json.loads((games / generator.INDEX).read_text())
    names = [name for split in index.values() for listed in split.values() for name in listed]
    assert sorted(names) == sorted(p.parent.relative_to(games / "json_2.1.1").as_posix() for p in games.rglob(GAME))


def test_the_same_seed_writes_the_same_files(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_games(tmp_path / name, {"train": ("train", 12)}, seed=seed, rooms="full")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 12 * 3 + 1
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert not any((tmp_path / "c" / f).exists() for f in files if f.name == GAME)


def test_splits_share_no_task_and_unseen_rooms_are_unseen(many):
    for panel, listed in many.items():
        assert len({g.folder for g in listed}) == len(listed) == 60
        assert len({json.dumps(facts(g)) for g in listed}) == 60
        assert Counter(g.task.type for g in listed) == dict.fromkeys(TASK_TYPES, 10)
        assert {g.task.room in UNSEEN_ROOMS for g in listed} == {panel == "valid_unseen"}
    for a, b in combinations(many, 2):
        assert not {g.task for g in many[a]} & {g.task for g in many[b]}
    assert {g.task.room for g in many["valid_unseen"]} == set(UNSEEN_ROOMS)


@pytest.mark.parametrize("small", [True, False])
def test_panels_deal_every_task_once_whatever_the_seed(small):
    dealt = Counter()
    for panel in PANELS:
        for rooms in panel_tasks(panel, small=small).values():
            dealt.update(task for tasks in rooms.values() for task in tasks)
    assert set(dealt.values()) == {1} and len(dealt) > 2000
    assert {task.type for task in dealt} == set(TASK_TYPES)


def test_a_room_obeys_the_tables(many):
    table = affordances()
    for game in (g for listed in many.values() for g in listed):
        room, task = game.room, game.task
        points = [r.point for r in room.receptacles.values()] + [room.start]
        assert len(set(points)) == len(points)  # two receptacles at one point: the second could not be reached
        for name, place in room.inside.items():
            kind = object_type(name)
            assert kind in table.contains[room.receptacles[place].type] or kind in ("DeskLamp", "FloorLamp")
            assert not (kind == task.object and room.receptacles[place].type == task.place)  # nothing is done yet
        asked = [name for name in room.inside if object_type(name) == task.object]
        assert len(asked) >= (2 if task.type == TWO else 1)
        if task.type in TOOLS:
            assert room.of_type(TOOLS[task.type][0]) and task.object in table.actions[TOOLS[task.type][1]]
        names = spoken_names(room)
        assert len(set(names.values())) == len(room.receptacles) + len(room.inside)


def test_small_rooms_allow_everything_and_tell_nothing(many):
    table = affordances()
    for game in (g for listed in many.values() for g in listed if "_small_" in g.trial):
        room = game.room
        assert len(room.receptacles) == SMALL_ROOM_RECEPTACLES == len({r.type for r in room.receptacles.values()})
        assert {"SinkBasin", "Microwave", "Fridge", "SideTable"} <= {r.type for r in room.receptacles.values()}
        assert "DeskLamp" in {object_type(name) for name in room.inside}
        for ability in ("Cleanable", "Heatable", "Coolable"):
            assert game.task.object in table.actions[ability]
        held = [room.inside[name] for name in room.inside if object_type(name) == game.task.object]
        assert len(held) == len(set(held)) == 2
        assert not any(room.receptacles[place].type in table.openable for place in held)
        assert len(walkthrough(game)) <= 9


def test_full_rooms_hold_their_floor_plan(many):
    for game in (g for listed in many.values() for g in listed if "_full_" in g.trial):
        plan = floor_plan(game.task.room)
        assert len(game.room.receptacles) >= len(plan.receptacles)
        moved = [name for name in plan.receptacles if name not in game.room.receptacles]
        assert not moved or game.task.room == 420  # one basin there is renamed
        assert sum(map(len, room_numbers().values())) == 120


def test_games_are_won_by_their_walkthrough(games, tmp_path):
    """Small games of every type, and one full game of every type in a seen and an unseen room."""
    chosen = random.Random(0).sample(sorted(games.rglob(GAME)), 12)
    for panel, rooms in (("train", "full"), ("valid_unseen", "full")):
        chosen += [write_game(g, tmp_path / panel) for g in make_games(panel, 6, seed=2, rooms=rooms)]
    assert [problem for _, problem in check_games(chosen)] == [None] * 24


def test_a_game_that_is_not_won_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    def spoilt(game, text):
        return original(game, text) | {"walkthrough": ["look"]}

    original = generator.game_data
    monkeypatch.setattr(generator, "game_data", spoilt)
    with pytest.raises(UnwinnableGameError, match=r"game\.tw-pddl: not won after 1 commands"):
        write_games(tmp_path / "games", {"train": ("train", 6)}, seed=0, rooms="small", check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_walkthrough_that_wins_early_or_cannot_be_played_is_a_problem(games, tmp_path):
    path = min(games.rglob(GAME))
    data = json.loads(path.read_text())
    for commands, said in ((data["walkthrough"] + ["look"], "won before"), (["go to moon 1"], "is not admissible")):
        spoilt = tmp_path / GAME
        spoilt.write_text(json.dumps(data | {"walkthrough": commands}))
        assert said in dict(check_games([spoilt]))[spoilt]


def test_wrong_wishes_are_refused(games, tmp_path):
    with pytest.raises(ValueError, match="games: got 3"):
        generate(tmp_path / "x", games=3)
    with pytest.raises(ValueError, match="rooms: got 'tiny'"):
        generate(tmp_path / "x", rooms="tiny")
    with pytest.raises(ValueError, match="panel: got 'test'"):
        list(make_games("test", 6))
    with pytest.raises(FileExistsError, match="exists already"):
        generate(games, rooms="small")
    with pytest.raises(ValueError, match="floor plan: got 99"):
        floor_plan(99)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is not generated games"):
        generate(tmp_path / "mine", rooms="small", overwrite=True)
    assert (tmp_path / "mine" / "letter.txt").exists() and not (tmp_path / "x").exists()


def test_the_real_package_finds_and_plays_them(games, monkeypatch, tmp_path):
    """AlfredTWEnv itself, without the speed layer: it lists the games of a split, and a walkthrough wins there."""
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    from alfworld.agents.environment.alfred_tw_env import AlfredTWEnv

    config = {
        "env": {
            "goal_desc_human_anns_prob": 0,
            "task_types": [1, 2, 3, 4, 5, 6],
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "dataset": {"eval_ood_data_path": str(games / "json_2.1.1" / "valid_unseen"), "num_eval_games": 2},
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": 50}},
    }
    whole = AlfredTWEnv(config, train_eval="eval_out_of_distribution")
    assert whole.num_games == 2
    env = whole.init_env(batch_size=1)
    try:
        for _ in range(2):
            _, infos = env.reset()
            commands = json.loads(open(infos["extra.gamefile"][0]).read())["walkthrough"]
            for command in commands:
                assert not infos["won"][0]
                _, scores, dones, infos = env.step([command])
            assert infos["won"][0]
            assert dones[0]
            assert scores[0] == 1
    finally:
        env.close()


@pytest.mark.slow
@pytest.mark.parametrize(("rooms", "each"), [("small", 60), ("full", 60)])
def test_three_hundred_games_are_won(tmp_path, rooms, each):
    """Per kind of rooms 300 games: 180 to train on, 60 in seen and 60 in unseen rooms."""
    counts = {"train": 3 * each, "valid_seen": each, "valid_unseen": each}
    out = write_games(tmp_path / "games", {k: (k, n) for k, n in counts.items()}, seed=11, rooms=rooms)
    assert require_won(sorted(out.rglob(GAME))) == 300


def test_a_game_is_decided_by_its_seed():
    task = next(make_games("train", 1, seed=0, rooms="full")).task
    a, b, c = (make_game(task, seed, "trial_x", small=False) for seed in (1, 1, 2))
    assert facts(a) == facts(b) != facts(c)
