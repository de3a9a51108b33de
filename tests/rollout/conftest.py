# SPDX-License-Identifier: Apache-2.0
"""The real agent loop around a real environment pool; only the policy is scripted."""

import asyncio
from pathlib import Path

import pytest
import ray
from support.scripted_policy import ScriptedPolicy, make_loop, settings
from support.start_ray import start_ray


@pytest.fixture(scope="module")
def cluster():
    # The servers import test environments from there.
    env_vars = {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    start_ray(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": env_vars})
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def tokenizer():
    from support.tiny_model import make_tokenizer

    return make_tokenizer()


@pytest.fixture(scope="module")
def play(cluster, tokenizer):
    """`play(script, episodes, **overrides) -> (rows per episode, policy)`: episodes at once, in one event loop."""
    from siri_verl.rollout import environments
    from siri_verl.rollout.complete_rows import complete_rows

    environments._pools.clear()

    def run(script, episodes=({},), **overrides):
        config = settings(**overrides)
        policy = ScriptedPolicy(tokenizer, script)

        async def one(given):
            # what the dataset, verl's worker and the siri worker pass
            columns = {"task_id": "toy-coin-shelf-kitchen", "uid": "u", "session_id": 0, "global_steps": 5}
            columns |= {"partition": "train", "arm": "plain", "skill_id": "", "skill_text": ""}
            columns |= given
            rows = await make_loop(config, policy, tokenizer).run({"temperature": 1.0}, **columns)
            return complete_rows(rows, columns, tokenizer, config.siri.reward.success_reward)  # as the worker does

        async def all_of_them():
            return await asyncio.gather(*(one(given) for given in episodes))

        return asyncio.run(asyncio.wait_for(all_of_them(), 120)), policy

    yield run
    for task in environments._pools.values():
        asyncio.run(task.result().shutdown())
    environments._pools.clear()
