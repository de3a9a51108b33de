# SPDX-License-Identifier: Apache-2.0
import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import flatdim, flatten, flatten_space, unflatten
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

import siri_verl.envs  # noqa: F401  registers the environments
from siri_verl.envs.free_text import FreeText
from siri_verl.envs.toy import ToyEnv

TEXTS = ["", "hello", "Blau\u00df \u5411\u5317 \U0001f600\n", "\ud83d", "\x00a"]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_contained_can_be_encoded(text):
    space = FreeText(40)
    assert text in space
    codes = flatten(space, text)
    assert codes.shape == (flatdim(space),) and codes in flatten_space(space)
    assert unflatten(space, codes) == text
    assert [space.character_list[space.character_index(c)] for c in text] == list(text)
    assert all(c in space.character_set for c in text)
    memory = create_shared_memory(space, n=2)
    for index, one in enumerate((text, "b")):
        write_to_shared_memory(space, index, one, memory)
    texts = read_from_shared_memory(space, memory, n=2)
    assert tuple(texts) == (text, "b")
    write_to_shared_memory(space, 1, text, memory)
    assert copy.deepcopy(texts) == (text, text)


def test_samples_repeat_under_a_seed_and_spaces_compare():
    a, b = FreeText(40, seed=3), FreeText(40, seed=3)
    assert [a.sample() for _ in range(4)] == [b.sample() for _ in range(4)]
    assert len(a.sample(mask=(5, None))) == 5 and a == b and a != FreeText(41)
    assert "x" * 41 not in a and 3 not in a


@pytest.mark.parametrize(
    "mode, settings",
    [("sync", {}), ("async", {"shared_memory": False}), ("async", {"shared_memory": True})],
    ids=lambda value: str(value),
)
def test_several_environments_at_once(mode, settings):
    """All of Gymnasium's ways give what one environment gives."""
    many = gymnasium.make_vec("siri_verl/Toy-v0", num_envs=2, vectorization_mode=mode, vector_kwargs=settings)
    one = [gymnasium.make("siri_verl/Toy-v0") for _ in range(2)]
    try:
        seen, info = many.reset(seed=5)
        single = [env.reset(seed=5 + k) for k, env in enumerate(one)]
        for _ in range(3):
            assert tuple(seen) == tuple(observation for observation, *_ in single)
            assert list(info["task_id"]) == [answer[-1]["task_id"] for answer in single]
            actions = tuple(answer[-1]["admissible_actions"][0] for answer in single)
            seen, rewards, *_, info = many.step(actions)
            single = [env.step(action) for env, action in zip(one, actions, strict=True)]
            assert rewards.tolist() == [answer[1] for answer in single]
    finally:
        many.close()


def test_wrappers_that_flatten():
    env = gymnasium.wrappers.FlattenObservation(ToyEnv())
    codes, _ = env.reset(seed=1)
    assert isinstance(codes, np.ndarray) and unflatten(ToyEnv().observation_space, codes).startswith("you are in")
