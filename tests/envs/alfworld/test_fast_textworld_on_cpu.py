# SPDX-License-Identifier: Apache-2.0
"""The speed layer beside what an agent reads: processes, threads, disk, versions."""

import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
from support.planner_libraries import unload_all

from siri_verl.envs.alfworld import TextworldVersionError, fast_textworld, speed
from siri_verl.envs.alfworld.games import GameFolder


@pytest.fixture
def fast():
    with fast_textworld() as layer:
        yield layer


def content_of(folder, number=0, split="train"):
    games = list(GameFolder(folder).listing(split).games.values())
    return json.loads(games[number].path.read_text())


def loaded(content):
    import textworld
    from textworld.envs.pddl import PddlEnv

    env = PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True))
    env.load(content)
    return env


def insides():
    """What the layer replaces, as it is now."""
    import fast_downward
    from textworld.envs.pddl import PddlEnv, logic, textgen

    return [
        PddlEnv._gather_infos,
        textgen.ContextSensitiveGrammar.derive,
        logic.GameLogic,
        logic.PddlState,
        fast_downward.pddl2sas,
        fast_downward.load_lib,
    ]


def is_fast():
    return speed._users > 0


@pytest.fixture
def without_layer():
    """Environments of other tests leave the layer on for the process; here it is off, and then on again as it was."""
    users = speed._users
    for _ in range(users):
        speed.Layer().__exit__()
    assert not is_fast()
    yield
    assert not is_fast(), "the test left the layer on"
    for _ in range(users):
        fast_textworld()


def test_at_its_end_a_context_leaves_textworld_as_it_was(small_games, without_layer):
    stock = insides()
    with fast_textworld():
        with fast_textworld():
            env = loaded(content_of(small_games))
        fast = insides()
        assert is_fast() and not any(a is b for a, b in zip(stock, fast, strict=True))
        state = env.reset()
    assert insides() == stock and not is_fast()
    again, _, _ = env.step("inventory")  # an episode that began under the layer goes on without it
    assert again.feedback == "You are not carrying anything."
    assert again["admissible_commands"] == state["admissible_commands"]


def test_arguments_of_the_process_survive_a_translation(small_games, fast, monkeypatch):
    arguments = ["main.py", "+siri=alfworld", "trainer.total_training_steps=3"]
    monkeypatch.setattr(sys, "argv", arguments)
    env = loaded(content_of(small_games, 1))
    env.reset()
    env._pddl_state.replan(env._entity_infos)
    assert sys.argv is arguments and arguments[1] == "+siri=alfworld"


def test_an_error_in_the_translator_leaves_arguments_and_output_alone(fast, monkeypatch):
    import fast_downward

    monkeypatch.setattr(sys, "argv", ["mine"])
    output = sys.stdout
    with pytest.raises((Exception, SystemExit)):
        fast_downward.pddl2sas("(define (domain broken", "(define")
    assert sys.argv == ["mine"] and sys.stdout is output


def test_threads_get_what_one_after_another_gives(small_games, fast):
    from siri_verl.envs.alfworld.fast_state import translations
    from siri_verl.envs.alfworld.grammar import _logics

    contents = [content_of(small_games, number) for number in range(6)]
    translations.clear()
    alone = [loaded(content).reset() for content in contents]
    translations.clear()
    _logics.clear()
    together: dict[int, object] = {}

    def play(number):
        together[number] = loaded(contents[number]).reset()

    threads = [threading.Thread(target=play, args=(number,)) for number in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, state in enumerate(alone):
        assert together[number].feedback == state.feedback
        assert together[number]["admissible_commands"] == state["admissible_commands"]


def test_many_environments_of_one_game_do_not_touch_each_other(small_games, fast):
    content = content_of(small_games, 2)
    envs = [loaded(content) for _ in range(12)]
    states = [env.reset() for env in envs]
    commands = [c for c in states[0]["admissible_commands"] if c.startswith("go to")]
    ways = [commands[number % len(commands)] for number in range(len(envs))]
    told = [env.step(way)[0] for env, way in zip(envs, ways, strict=True)]
    for way, state in zip(ways, told, strict=True):
        assert state.feedback.startswith(f"You arrive at {way.removeprefix('go to ')}.")
    assert [env.step("inventory")[0].feedback for env in envs] == ["You are not carrying anything."] * 12
    assert envs[0].reset().feedback == states[0].feedback


def test_episodes_without_number_on_one_library(small_games, fast, monkeypatch):
    from siri_verl.envs.alfworld import planner

    monkeypatch.setattr(planner, "STATES_PER_LOAD", 5)
    env, loads = loaded(content_of(small_games)), []
    monkeypatch.setattr(planner, "Loaded", counting(planner.Loaded, loads))
    seen = set()
    for _ in range(8):
        told = [env.reset()]
        for _ in range(2):
            go = next(c for c in told[-1]["admissible_commands"] if c.startswith("go to"))
            told.append(env.step(go)[0])
        seen.add(tuple((state.feedback, tuple(state["admissible_commands"])) for state in told))
    assert len(seen) == 1, "loading anew within an episode changes nothing"
    assert 3 <= len(loads) <= 16, "what the library remembers is bounded"


def counting(loaded_class, loads):
    """The class, noting every use."""

    def make(*arguments):
        loads.append(arguments)
        return loaded_class(*arguments)

    return make


def test_games_beyond_the_budget_share_libraries_and_keep_their_states(small_games, fast, monkeypatch):
    from siri_verl.envs.alfworld import planner

    contents = [content_of(small_games, number) for number in range(6)]
    alone = [walk(loaded(content), 6) for content in contents]
    unload_all()
    monkeypatch.setattr(planner, "BUDGET", 2 * planner._cost(loaded(contents[0])._pddl_state.translation))
    envs = [loaded(content) for content in contents]
    states, together = [env.reset() for env in envs], [[] for _ in envs]
    for turn in range(6):  # in a circle, as sessions do
        for number, env in enumerate(envs):
            together[number].append((states[number].feedback, states[number]["admissible_commands"]))
            states[number], _, _ = env.step(choice(states[number], turn))
            assert len(planner._loaded) <= 3 < len(envs)
    assert together == alone
    plans = [env._pddl_state.replan(env._entity_infos) for env in envs]
    assert all(plans), "a plan starts where the environment is"


def choice(state, turn):
    commands = [c for c in state["admissible_commands"] if c != "help"]
    return commands[7 * turn % len(commands)]


def walk(env, steps):
    state, told = env.reset(), []
    for turn in range(steps):
        told.append((state.feedback, state["admissible_commands"]))
        state, _, _ = env.step(choice(state, turn))
    return told


def test_a_forgotten_translation_is_made_anew(small_games, fast, monkeypatch):
    from siri_verl.envs.alfworld import fast_state

    monkeypatch.setattr(fast_state.translations, "size", 1)
    env, other = loaded(content_of(small_games, 0)), loaded(content_of(small_games, 3))
    first = env.reset().feedback
    assert len(fast_state.translations._values) == 1
    assert other.reset().feedback != first and env.reset().feedback == first


def test_libraries_take_no_room_on_disk_and_are_used_again(fast, tmp_path, monkeypatch):
    from siri_verl.envs.alfworld.planner_library import give_back_library, take_library

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    libraries = [take_library() for _ in range(5)]
    assert len({library._handle for library in libraries}) == 5
    assert not any(tmp_path.iterdir())
    if sys.platform == "linux":
        mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "libdownward_" in line]
        assert mapped and all("memfd:" in line for line in mapped), "nothing but memory"
    give_back_library(libraries[0])
    assert take_library() is libraries[0]
    for library in libraries:
        give_back_library(library)


@pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")
def test_the_loadable_part_is_small_and_complete():
    from fast_downward.interface import DOWNWARD_LIB_PATH

    from siri_verl.envs.alfworld.planner_library import loadable_part

    whole = Path(DOWNWARD_LIB_PATH).read_bytes()
    part = loadable_part(whole)
    assert len(part) < len(whole) / 10
    assert part[64:] == whole[64 : len(part)], "nothing but the header's section table changed"
    assert loadable_part(b"not an ELF file") == b"not an ELF file"


def test_another_version_is_named_together_with_the_known_ones(without_layer, monkeypatch):
    before = insides()
    monkeypatch.setattr(speed, "version", lambda package: "1.8.3")
    message = r"textworld 1\.8\.3 is installed; the speed layer knows 1\.7\.0.*`textworld==1\.7\.0`.*fast=false"
    with pytest.raises(TextworldVersionError, match=message):
        fast_textworld()
    assert insides() == before and not is_fast()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(speed, "KNOWN_VERSIONS", {"textworld-that-is-not-there": ("1",)})
    with pytest.raises(TextworldVersionError, match=re.escape("pip install 'siri_verl[alfworld]'")):
        fast_textworld()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_sixty_four_environments_in_one_process_stay_below_400_mb(tmp_path):
    import subprocess

    bench = Path(__file__).parents[3] / "benchmarks" / "alfworld" / "bench.py"
    command = [sys.executable, str(bench), "memory", "--games", str(tmp_path / "games")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=840)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["distinct_games_mib"] < 400
