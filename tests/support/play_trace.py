# SPDX-License-Identifier: Apache-2.0
"""Plays games on stock or fast textworld and prints what an agent reads, one JSON line for each turn.

python play_trace.py stock|fast RANDOM_STEPS GAME...
"""

import json
import random
import sys

import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
from textworld.envs.pddl import PddlEnv


def turns(env, commands):
    """`commands` gives the next command for a state, None at the end."""
    state, score, done = env.reset(), 0, False
    while True:
        told = [state.feedback, state["admissible_commands"], state["won"], score, done]
        inside = [sorted(map(str, state["_facts"])), state["_valid_commands"], state["command_templates"]]
        yield told + inside
        command = commands(state)
        if command is None:
            return
        state, score, done = env.step(command)


def wanderer(seed, steps):
    """Random admissible commands; now and then one that does not exist, or help."""
    rng, left = random.Random(seed), iter(range(steps))

    def choose(state):
        if next(left, None) is None:
            return None
        return rng.choice(["dance", "", "help"]) if rng.random() < 0.1 else rng.choice(state["admissible_commands"])

    return choose


def play(files, steps):
    """All turns of some games: a random walk, then the way to win, from a new start."""
    env = AlfredDemangler(PddlEnv(textworld.EnvInfos(won=True, admissible_commands=True)), shuffle=False)
    for file in files:
        env.load(file)
        yield from turns(env, wanderer(file.rsplit("/", 3)[1], steps))
        with open(file) as content:
            *way, last = json.load(content)["walkthrough"]
        solution = iter([*way, "inventory", "help", last])
        yield from turns(env, lambda state, solution=solution: next(solution, None))


if __name__ == "__main__":
    mode, steps, *files = sys.argv[1:]
    if mode == "fast":
        from siri_verl.envs.alfworld import fast_textworld

        fast_textworld()
    for turn in play(files, int(steps)):
        print(json.dumps(turn))
