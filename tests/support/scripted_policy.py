# SPDX-License-Identifier: Apache-2.0
"""A policy that answers as told, and the agent loop made the way verl's worker makes it."""

import asyncio

from omegaconf import OmegaConf

from support.configs import toy_config


class ScriptedPolicy:
    """Stands where verl's LLMServerClient stands: no model can be made to produce chosen actions.

    Args:
        tokenizer: the policy's tokenizer.
        script: called with (turn, prompt text), turns counted per request id from 1; returns the reply's text, or an
            awaitable of it.
    """

    def __init__(self, tokenizer, script):
        self.tokenizer, self.script = tokenizer, script
        self.requests: list[dict] = []
        self.turns: dict[str, int] = {}

    async def generate(self, request_id, *, prompt_ids, sampling_params, **kwargs):
        from verl.workers.rollout.replica import TokenOutput

        text = self.tokenizer.decode(prompt_ids)
        turn = self.turns[request_id] = self.turns.get(request_id, 0) + 1
        self.requests.append({"request_id": request_id, "turn": turn, "prompt": text, "params": dict(sampling_params)})
        reply = self.script(turn, text)
        if asyncio.iscoroutine(reply):
            reply = await reply
        ids = self.tokenizer.encode(reply, add_special_tokens=False) + [self.tokenizer.eos_token_id]
        # The server's name reaches the row, whatever process this runs in.
        server = f"temperature {sampling_params.get('temperature')}"
        steps = {"min_global_steps": 4, "max_global_steps": 4, "server": server}
        return TokenOutput(token_ids=ids, log_probs=[-0.5 - i / 100 for i in range(len(ids))], extra_fields=steps)


def act(action: str) -> str:
    """A well-formed reply."""
    return f"<think>so</think><action>{action}</action>"


def actions(*listed: str):
    """A script that gives these actions in order, and repeats the last one."""
    return lambda turn, prompt: act(listed[min(turn, len(listed)) - 1])


def settings(**overrides):
    """A run's config: verl's own, the siri groups, and `key.path=value` overrides given as `key__path=value`."""
    config = toy_config()
    OmegaConf.set_struct(config, False)
    plain = {
        "siri.prompt.template": "full",
        "siri.rollout.max_turns": 6,
        "data.max_prompt_length": 900,
        "data.max_response_length": 200,
    }
    for key, value in {**plain, **{name.replace("__", "."): value for name, value in overrides.items()}}.items():
        OmegaConf.update(config, key, value)
    return config


def make_loop(config, policy, tokenizer):
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    from siri_verl.rollout.agent_loop import EnvAgentLoop

    return EnvAgentLoop(
        trainer_config=DictConfigWrap(config),
        server_manager=policy,
        tokenizer=tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
        hf_model_type="qwen2",
    )
