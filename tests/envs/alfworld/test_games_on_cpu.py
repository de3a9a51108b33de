# SPDX-License-Identifier: Apache-2.0
"""Folders of games: what is played, what is skipped, and what is said about it."""

import json
import logging
import re
import shutil

import pytest

from siri_verl.envs.alfworld.games import GameDataError, GameFolder, GrammarVersionError, known_commands
from siri_verl.envs.base import UnknownTaskError
from siri_verl.envs.panels import Panel, make_panel


@pytest.fixture
def folder(small_games, tmp_path):
    """A folder with one split that a test may spoil."""
    shutil.copytree(small_games / "json_2.1.1" / "valid_seen", tmp_path / "games" / "json_2.1.1" / "valid_seen")
    return tmp_path / "games"


def game_files(folder):
    return sorted(folder.rglob("game.tw-pddl"))


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def name_of(path):
    return "/".join(path.parts[-4:-1])


def test_games_are_found_by_either_folder_and_name_themselves(folder):
    games = GameFolder(folder).listing("valid_seen").games
    assert GameFolder(folder / "json_2.1.1").listing("valid_seen").games == games
    assert len(games) == 6 and list(games) == sorted(games)
    for name, game in games.items():
        assert game == GameFolder(folder).game(name) and game.name == name == name_of(game.path)
        told = json.loads((game.path.parent / "traj_data.json").read_text())
        assert game.task_type == told["task_type"]


def test_what_alfworld_leaves_out_is_left_out_quietly(folder, caplog):
    games = game_files(folder)
    names = ("pick_and_place_with_movable_recep-Mug-Pot-Shelf-1", "x-EggSliced-None-Shelf-2")
    for path, word in zip(games[:2], names, strict=True):
        target = path.parents[2] / word / path.parent.name
        shutil.copytree(path.parent, target)
    other = games[2].parent / "traj_data.json"
    change(other, task_type="pick_and_place_with_something_else")
    listing = GameFolder(folder).listing("valid_seen")
    assert len(listing.games) == 5 and listing.counts() == "2 movable or sliced, 1 other task type"
    assert not caplog.records


def test_broken_and_unsolvable_games_are_named_and_counted(folder, caplog):
    games = game_files(folder)
    games[0].write_text("{")
    change(games[1], solvable=False)
    games[2].unlink()
    change(games[3], grammar=json.loads(games[3].read_text())["grammar"].replace("Your task is to:", "Do:"))
    with caplog.at_level(logging.WARNING):
        listing = GameFolder(folder).listing("valid_seen")
    assert len(listing.games) == 2 and listing.counts() == "1 no game file, 2 unreadable, 1 unsolvable"
    (record,) = caplog.records
    assert "2 games, 4 skipped (1 no game file, 2 unreadable, 1 unsolvable)" in record.message
    for path in games[:4]:
        assert name_of(path) in record.message


def test_a_skipped_game_in_a_panel_is_refused_by_name(folder):
    games = game_files(folder)
    change(games[1], solvable=None)
    with pytest.raises(UnknownTaskError, match="this game is not played: unsolvable .*'solvable' is None"):
        GameFolder(folder).game(name_of(games[1]))


def test_no_game_left_is_an_error_that_says_why(folder):
    for path in game_files(folder):
        change(path, solvable=False)
    with pytest.raises(
        GameDataError, match="no game to play; skipped: 6 unsolvable .*siri-verl data alfworld --download"
    ):
        GameFolder(folder).listing("valid_seen")


def test_trajectories_without_games_say_how_to_get_them(folder):
    for path in game_files(folder):
        path.unlink()
    with pytest.raises(
        GameDataError, match="skipped: 6 no game file .*game.tw-pddl is missing.*data alfworld --download"
    ):
        GameFolder(folder).listing("valid_seen")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_a_folder_without_games_says_how_to_get_them(tmp_path, make):
    make(tmp_path / "nothing")
    with pytest.raises(GameDataError, match="nothing: .*`siri-verl data alfworld --download --out DIR` fetches"):
        GameFolder(tmp_path / "nothing")


def test_another_grammar_version_is_an_error(folder):
    path = game_files(folder)[0]
    old = json.loads(path.read_text())["grammar"].replace("move {o} to {r}", "put {o} in/on {r}")
    change(path, grammar=old)
    message = r"game valid_seen/.*PutObject as 'put \{o\} in/on \{r\}', the installed alfworld as 'move \{o\} to \{r\}'"
    with pytest.raises(GrammarVersionError, match=message):
        GameFolder(folder).listing("valid_seen")
    with pytest.raises(GrammarVersionError, match=message):
        GameFolder(folder).game(name_of(path))
    assert known_commands()["PutObject"] == "move {o} to {r}"


@pytest.mark.parametrize(
    "name, message",
    [
        ("valid_seen/no-Such-None-Game-1/trial_1", "no such game below"),
        ("train/a/b", "expected '<split>/<task>/<trial>' with a split out of valid_seen"),
        ("valid_seen/../../secret", "names no game"),
        ("7", "names no game"),
    ],
)
def test_a_name_of_no_game_is_refused(folder, name, message):
    with pytest.raises(UnknownTaskError, match=message):
        GameFolder(folder).game(name)


def test_a_malformed_problem_is_an_error_and_not_the_end_of_the_process(folder):
    from siri_verl.envs.alfworld.env import ALFWorldEnv
    from siri_verl.envs.alfworld.speed import Layer

    games = game_files(folder)
    change(games[0], pddl_problem="(define (problem broken")
    env = ALFWorldEnv(str(folder))
    try:
        with pytest.raises(GameDataError, match=f"game {name_of(games[0])}: cannot be played"):
            env.reset(options={"task_id": name_of(games[0])})
        observation, _ = env.reset(options={"task_id": name_of(games[1])})
        assert "Your task is to" in observation, "the environment goes on with the next game"
    finally:
        env.close()
        Layer().__exit__()


@pytest.mark.parametrize("trial", ["trial with space", "trial#1", "trial%20x", "trial;rm", "trial_\u00fc"])
def test_folders_of_any_name_are_tasks_of_a_panel(folder, tmp_path, trial):
    path = game_files(folder)[0]
    path.parent.rename(path.parent.with_name(trial))
    name = f"{name_of(path).rpartition('/')[0]}/{trial}"
    make_panel("alfworld", {"data": str(folder)}, "valid_seen").write(tmp_path / "panel.json")
    assert name in Panel.read(tmp_path / "panel.json").task_ids
    assert GameFolder(folder).game(name).path.is_file()


def test_of_two_receptacles_at_one_place_the_second_is_not_offered_from_the_first(folder):
    from siri_verl.envs.alfworld.env import ALFWorldEnv
    from siri_verl.envs.alfworld.speed import Layer

    path = game_files(folder)[0]
    problem = json.loads(path.read_text())["pddl_problem"]
    places = re.findall(r"\(receptacleAtLocation (\w+) (\w+)\)", problem)
    (_, first), (_, second) = places[:2]
    change(path, pddl_problem=re.sub(rf"(\((?:receptacle|object)AtLocation \w+) {second}\)", rf"\1 {first})", problem))
    env = ALFWorldEnv(str(folder))
    try:
        _, info = env.reset(options={"task_id": name_of(path)})
        offered = [action for action in info["admissible_actions"] if action.startswith("go to ")]
        assert len(offered) == len(places)
        reached = {}
        for action in offered:
            env.reset(options={"task_id": name_of(path)})
            *_, info = env.step(action)
            reached[action] = info["anchor"].partition(";")[0]
            if ", " in reached[action]:
                left = [other for other in offered if other in info["admissible_actions"]]
                assert len(left) == len(offered) - 2
        both = [action for action, anchor in reached.items() if ", " in anchor]
        assert len(both) == 2 and len({reached[action] for action in both}) == 1
        assert all(action.removeprefix("go to ") in reached[both[0]] for action in both)
    finally:
        env.close()
        Layer().__exit__()
