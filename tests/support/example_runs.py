# SPDX-License-Identifier: Apache-2.0
"""What tests of the examples share: loading their modules, their commands without running them, a scripted policy."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from support.recipe_commands import training_overrides

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(path: Path, name: str) -> ModuleType:
    """A module by its file, under a name of its own: several examples have a `prepare` and a `loop`."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def example(folder: str, file: str) -> ModuleType:
    """A module of an example, with the folder on the path as its run.sh puts it there."""
    for place in (EXAMPLES / "lib", EXAMPLES / folder.split("/")[0]):
        if str(place) not in sys.path:
            sys.path.append(str(place))
    return load(EXAMPLES / folder / f"{file}.py", f"example_{folder}_{file}".replace("/", "_"))


def dry_run(folder: str, *arguments: str) -> list[str]:
    """The overrides that an example's run.sh hands to verl."""
    command = ["bash", str(EXAMPLES / folder / "run.sh"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "DRY_RUN": "1", "INPUTS": "/inputs"}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return training_overrides(done.stdout)


def composed(words: list[str]):
    """verl's config with these overrides, accepted by verl's own checks."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from siri_verl.planning.compose import compose_run

    config = compose_run(words)
    validate_config(config, need_reference_policy(config), need_critic(config))
    return config


@functools.lru_cache
def config_of(folder: str, *arguments: str):
    """The config of an example's command; not to be changed."""
    return composed(dry_run(folder, *arguments))


class ScriptedPolicy:
    """Stands where verl's LLMServerClient stands, and gives the replies it is told, in order."""

    def __init__(self, tokenizer, replies):
        self.tokenizer, self.replies = tokenizer, list(replies)
        self.prompts: list[str] = []

    async def generate(self, request_id, *, prompt_ids, sampling_params, **kwargs):
        from verl.workers.rollout.replica import TokenOutput

        self.prompts.append(self.tokenizer.decode(prompt_ids))
        ids = [*self.tokenizer.encode(self.replies[len(self.prompts) - 1]), self.tokenizer.eos_token_id]
        steps = {"min_global_steps": 4, "max_global_steps": 4}
        return TokenOutput(token_ids=ids, log_probs=[-0.25] * len(ids), extra_fields=steps)


def play(cls, config, tokenizer, replies, tools=(), **columns):
    """One episode of a loop made the way verl's worker makes it.

    Returns:
        (what its `run` returns, the policy).
    """
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap, ToolListWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    policy = ScriptedPolicy(tokenizer, replies)

    async def one():
        loop = cls(
            trainer_config=DictConfigWrap(config),
            server_manager=policy,
            tokenizer=tokenizer,
            processor=None,
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
            hf_model_type="qwen3",
            tools=ToolListWrap(list(tools)),
        )
        return await loop.run({"temperature": 1.0}, **columns)

    return asyncio.run(asyncio.wait_for(one(), 60)), policy
