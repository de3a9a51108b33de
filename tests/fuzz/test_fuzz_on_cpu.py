# SPDX-License-Identifier: Apache-2.0
"""A few hundred inputs for each target; tests/fuzz/run.py has a million."""

import random
import time

import pytest
from fuzz.targets import TARGETS, mutated, seeds

from siri_verl.envs.replies import parse_reply
from siri_verl.skills.mining_prompt import parse_mined_skill
from siri_verl.skills.sanitize import UnsafeTextError, neutralise


@pytest.mark.parametrize("name", TARGETS)
def test_sound_and_hostile_inputs(name):
    for data in seeds(name):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs(name):
    rng, given = random.Random(name), seeds(name)
    for _ in range(300):
        TARGETS[name](mutated(rng, given))


LONG = (
    "<think>",
    "<action>",
    "</think>",
    "```\n",
    "strategy:",
    "condition: ",
    "< ",
    "<  ",
    "<|",
    "\n",
    " ",
    "a",
    "[ /",
    "\ud83d",
)


@pytest.mark.parametrize("piece", LONG)
def test_parsers_take_linear_time(piece):
    """A hundred thousand characters; a parser that is quadratic in them would take minutes."""
    text = piece * (100_000 // len(piece))
    begun = time.process_time()
    parse_reply(text + "</action>")
    parse_reply("</think></action>" + text)
    parse_mined_skill(text)
    parse_mined_skill("condition: a\nstrategy: b" + text)
    try:
        neutralise(text)
    except UnsafeTextError:
        pass
    assert time.process_time() - begun < 20
