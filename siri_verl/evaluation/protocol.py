# SPDX-License-Identifier: Apache-2.0
"""How a model is run in an evaluation: as in its run's validation or the published protocol, changed by the options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import OmegaConf

from siri_verl.evaluation.checks import check_sampling
from siri_verl.evaluation.options import EvalOptions
from siri_verl.light.policy import Sampling
from siri_verl.runs.saved import SavedRun
from siri_verl.skills.task_type import TaskTypeSettings
from siri_verl.trajectory.prompts import PromptSettings

PUBLISHED_SAMPLING = Sampling(temperature=0.4)
"""Of GiGPO's validation [verl-agent]; for models that come from no run."""


@dataclass(frozen=True)
class Protocol:
    """How the model is run.

    Attributes:
        prompt: template and number of earlier turns.
        task_type: how task types are read.
        sampling: of every reply.
        seed: environment and request seeds derive from it.
        max_turns: of an episode.
        max_prompt_length, max_response_length: in tokens.
        dtype: precision of the model.
        chat_template_kwargs: of the tokenizer's chat template.
    """

    prompt: PromptSettings
    task_type: TaskTypeSettings
    sampling: Sampling
    seed: int
    max_turns: int
    max_prompt_length: int
    max_response_length: int
    dtype: str
    chat_template_kwargs: Mapping[str, Any]


def published_protocol(device: str) -> Protocol:
    """The published protocol (conf/siri/webshop.yaml)."""
    return Protocol(
        prompt=PromptSettings(),
        task_type=TaskTypeSettings(),
        sampling=PUBLISHED_SAMPLING,
        seed=1,
        max_turns=15,
        max_prompt_length=4096,
        max_response_length=512,
        dtype="float32" if device == "cpu" else "bfloat16",
        chat_template_kwargs={},
    )


def run_protocol(run: SavedRun) -> Protocol:
    """The protocol of a run's validation.

    Sampling is rollout.val_kwargs without `do_sample`, as verl's validation reads it
    (verl/trainer/ppo/v1/agent_loop_tq.py).
    """
    data, rollout = run.config.data, run.config.actor_rollout_ref.rollout
    sampling, template_kwargs = rollout.val_kwargs, data.get("apply_chat_template_kwargs") or {}
    return Protocol(
        prompt=run.settings.prompt,
        task_type=run.settings.task_type,
        sampling=Sampling(float(sampling.temperature), float(sampling.top_p), int(sampling.top_k)),
        seed=run.settings.seed,
        max_turns=run.settings.rollout.max_turns,
        max_prompt_length=data.max_prompt_length,
        max_response_length=data.max_response_length,
        dtype=str(rollout.dtype),
        chat_template_kwargs=OmegaConf.to_container(OmegaConf.create(template_kwargs), resolve=True),
    )


def protocol(options: EvalOptions, run: SavedRun | None) -> Protocol:
    """The protocol in force: that of the run, else the published one, changed by the options that are given.

    Raises:
        ConfigError: a prompt setting is out of range.
        ValueError: the sampling is out of range; names the option.
    """

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(options, name) for name in names if getattr(options, name) is not None}

    how = published_protocol(options.device) if run is None else run_protocol(run)
    sampling = replace(how.sampling, **given("temperature", "top_p", "top_k"))
    check_sampling(sampling)
    return replace(
        how,
        prompt=replace(how.prompt, **given("template", "history_length")),
        task_type=how.task_type if options.task_type is None else TaskTypeSettings(kind=options.task_type),
        sampling=sampling,
        **given("seed", "max_turns", "max_prompt_length", "max_response_length", "dtype"),
    )
