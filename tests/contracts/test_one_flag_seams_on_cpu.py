# SPDX-License-Identifier: Apache-2.0
"""What `algorithm.adv_estimator=gigpo` relies on in every trainer mode of verl, and what foreign loops' rows do."""

import inspect

import pytest

from siri_verl.seams.seam import resolve

V1 = "verl.trainer.ppo.v1"
MODES = ("sync", "colocate_async", "separate_async")


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_verl_computes_advantages_where_ours_stands(mode):
    import verl.trainer.ppo.v1.trainer_separate_async  # noqa: F401  verl loads a mode when it is chosen
    from verl.trainer.ppo.v1 import get_trainer_cls

    base = resolve(f"{V1}.trainer_base:PPOTrainer")
    trainer = get_trainer_cls(mode)
    for name in ("_compute_advantage", "_step_once", "step"):
        assert getattr(trainer, name) is getattr(base, name), (
            f"trainer mode {mode!r} has a {name} of its own; see in siri_verl/training/estimator.py whether gigpo "
            "still reaches it, and correct the table of modes in docs/your_agent_loop.md"
        )


def test_verl_has_the_modes_the_documentation_speaks_of():
    import verl.trainer.ppo.v1.trainer_separate_async  # noqa: F401
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

    known = {name for name, cls in TRAINER_REGISTRY.items() if cls.__module__.startswith("verl.")}
    assert known == set(MODES), (
        "add the new mode to docs/your_agent_loop.md and to check_trainer_mode in rollout/worker.py"
    )


def test_the_advantage_step_calls_the_wrapped_name_with_row_keys():
    from verl.trainer.ppo.v1 import trainer_base

    source = inspect.getsource(trainer_base.PPOTrainer._compute_advantage)
    assert "data = compute_advantage_for_multi_trajectories(" in source and "batch_keys=batch.keys" in source, (
        "wrap what _compute_advantage now calls, in siri_verl/registration.py: advantage_estimators"
    )
    assert '"response_mask"' in source.split("fields = ")[1].split("]")[0], "the estimator reads data['response_mask']"
    assert getattr(trainer_base.compute_advantage_for_multi_trajectories, "__siri__", False), (
        "siri_verl/registration.py: advantage_estimators must wrap the name in trainer_base"
    )


def test_padding_rows_are_known_by_their_keys():
    source = inspect.getsource(resolve("verl.trainer.ppo.padding_utils:upsample_batch_to_divisible_size"))
    assert 'pad_uid = f"pad{' in source, "tell padding rows apart anew in siri_verl/training/estimator.py: over_turns"


def test_the_worker_scores_a_trajectory_before_it_is_stored():
    worker = resolve(f"{V1}.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class")
    advice = "look again at SiriAgentLoopWorker._agent_loop_postprocess in siri_verl/rollout/worker.py"
    for name, parameters in (("_agent_loop_postprocess", "self output validate"), ("_compute_score", "self outputs")):
        found = [
            p for p in inspect.signature(getattr(worker, name)).parameters if p not in ("_ray_trace_ctx", "kwargs")
        ]
        assert found == parameters.split(), advice
    source = inspect.getsource(worker._agent_loop_postprocess)
    assert "await self._compute_score(outputs, kwargs=kwargs)" in source, advice
    # scored rows are not scored again, and every row gets the last one's score
    assert "final_output.reward_score is None" in inspect.getsource(worker._compute_score), advice
    assert "output.reward_score = final_output.reward_score" in source, advice


def test_verls_tool_agent_returns_one_row_whose_turns_are_runs_of_ones():
    loop = resolve("verl.experimental.agent_loop.tool_agent_loop:ToolAgentLoop")
    source = inspect.getsource(loop.run)
    advice = "docs/your_agent_loop.md and examples/add_siri_to_a_pipeline say how ToolAgentLoop's rows look"
    assert "response_mask=agent_data.response_mask[: self.response_length]" in source, advice
    assert '"tool_rewards": agent_data.tool_rewards' in source, advice
    assert 'kwargs["raw_prompt"]' in source, advice
