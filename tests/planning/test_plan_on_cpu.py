# SPDX-License-Identifier: Apache-2.0
"""`siri-verl plan`: from a configuration to verdict, table, JSON, and reasons."""

import json

import pytest
from omegaconf import OmegaConf
from support.tiny_model import make_tiny_model
from typer.testing import CliRunner

from siri_verl.cli import app
from siri_verl.failures import ConfigError
from siri_verl.planning.compose import ComposeError, compose_run
from siri_verl.planning.memory import GIB
from siri_verl.planning.plan import FITS, NO_GPU, TIGHT, TIGHT_ABOVE, TOO_BIG, TOO_BIG_ABOVE, plan_run
from siri_verl.planning.report import plan_json

EIGHT = "+siri=[webshop,gpu,qwen_7b,gpus_8]"


@pytest.fixture(scope="module")
def eight():
    return compose_run([EIGHT])


def changed(config, **values):
    """A copy with other values; `__` stands for a dot."""
    copy = OmegaConf.create(OmegaConf.to_container(config, resolve=False))
    for name, value in values.items():
        OmegaConf.update(copy, name.replace("__", "."), value, force_add=True)
    return copy


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["plan", *map(str, arguments)], env={"COLUMNS": "160"})
    assert result.exit_code == code, (result.exit_code, result.output, result.exception)
    return " ".join(result.output.split())


def test_the_default_recipe_fits_eight_gpus(eight):
    made = plan_run(eight)
    assert made.verdict == FITS and not made.problems
    assert (made.setup.engine, made.setup.shard, made.setup.rollout) == ("fsdp2", 8, "vllm")
    assert made.setup.reference
    assert made.setup.entropy
    assert made.setup.offload_optimizer
    assert made.budget.run_environment_steps == 288_000 and made.replicas == 8
    assert made.host["environment servers"] > 0


def test_the_verdict_is_the_largest_phase_against_the_gpu(eight):
    single = changed(eight, trainer__n_gpus_per_node=4)
    name, peak = plan_run(single).peak
    assert name == "update"
    for share, verdict in ((TIGHT_ABOVE * 0.99, FITS), (TIGHT_ABOVE * 1.01, TIGHT), (TOO_BIG_ABOVE * 1.02, TOO_BIG)):
        made = plan_run(single, gpu_gib=peak / share / GIB)
        assert made.verdict == verdict and bool(made.problems) == (verdict == TOO_BIG), share


def test_what_does_not_fit_says_where_and_what_helps(eight):
    made = plan_run(changed(eight, trainer__n_gpus_per_node=1))
    assert made.verdict == TOO_BIG
    (problem,) = made.problems
    assert problem.startswith("update: 145 GiB of 80 GiB per GPU, 57 GiB of it optimizer; use `offload` in +siri=")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"actor_rollout_ref__actor__ppo_max_token_len_per_gpu": 4000},
            "a row can have 4608 tokens; use at least 4608",
        ),
        (
            {"actor_rollout_ref__rollout__gpu_memory_utilization": 0.2},
            "the KV cache holds 0 tokens, one session can need",
        ),
        ({"actor_rollout_ref__rollout__gpu_memory_utilization": 0.98}, "lower actor_rollout_ref.rollout.gpu_memory_ut"),
    ],
)
def test_runs_that_would_fail_are_refused_with_the_setting(eight, values, says):
    made = plan_run(changed(eight, **values))
    assert made.verdict == TOO_BIG and any(says in problem for problem in made.problems), made.problems


@pytest.mark.parametrize(
    ("values", "starts"),
    [
        ({"actor_rollout_ref__rollout__tensor_model_parallel_size": 3}, "actor_rollout_ref.rollout.tensor_model_para"),
        ({"actor_rollout_ref__actor__ulysses_sequence_parallel_size": 3}, "actor_rollout_ref.actor.ulysses_sequence"),
        ({"actor_rollout_ref__actor__strategy": "veomni"}, "actor_rollout_ref.actor.strategy='veomni': plan knows"),
        ({"actor_rollout_ref__model__path": "someone/else"}, "actor_rollout_ref.model.path='someone/else': its sizes"),
        ({"siri__rollout__max_turns": 0}, "siri.rollout.max_turns=0: use at least 1"),
        ({"siri__arms__skill_share": 0.3}, "siri.arms.skill_share=0.3: "),
        ({"siri__mining__max_tokens": 9000}, "siri.mining.max_tokens=9000: leaves no room"),
        ({"algorithm__adv_estimator": "rloo"}, "algorithm.adv_estimator='rloo': internalization weights"),
        ({"actor_rollout_ref__rollout__n": 1}, "actor_rollout_ref.rollout.n=1: gigpo compares"),
    ],
)
def test_wrong_settings_are_named(eight, values, starts):
    with pytest.raises(ConfigError) as caught:
        plan_run(changed(eight, **values))
    assert str(caught.value).startswith(starts)


def test_a_full_kv_cache_is_a_remark_not_a_refusal(eight):
    made = plan_run(changed(eight, actor_rollout_ref__rollout__gpu_memory_utilization=0.25))
    assert made.verdict == FITS
    assert any("sessions at full length, 16 are in play: the others wait" in remark for remark in made.remarks)


def test_turns_and_environments_that_are_not_known(eight):
    assert plan_run(eight, turns=5).budget.rows == 640
    with pytest.raises(ConfigError, match="turns=16: use a number above 0 and at most siri.rollout.max_turns=15"):
        plan_run(eight, turns=16)
    remarks = plan_run(changed(eight, siri__environment__name="your_package:Your-v0")).remarks
    assert any("'your_package:Your-v0' itself is not known" in remark for remark in remarks)


def test_verls_own_trainer_without_a_siri_block():
    made = plan_run(
        compose_run(
            [
                "actor_rollout_ref.rollout.name=vllm",
                "actor_rollout_ref.actor.use_dynamic_bsz=True",
                "actor_rollout_ref.model.path=Qwen/Qwen2.5-1.5B-Instruct",
                "data.train_batch_size=8",
            ]
        )
    )
    assert made.budget.rows == 8 and made.remarks == ["no `siri:` block: every session is taken for one turn"]
    assert made.setup.reference is False


def test_a_run_on_the_cpu_and_its_json(tmp_path):
    folder = make_tiny_model(tmp_path / "model")
    made = plan_run(compose_run(["+siri=[base,cpu,cpu_small]", f"actor_rollout_ref.model.path={folder}"]))
    assert made.verdict == NO_GPU
    assert made.phases == {}
    assert made.budget.sessions == 64
    content = json.loads(plan_json(made))
    assert (content["version"], content["verdict"], content["peak"]) == (1, NO_GPU, None)
    assert content["budget"]["rows"] == made.budget.rows and content["assumptions"]
    assert content["parameters"] == made.architecture.parameters


def test_the_command_prints_writes_and_exits_by_the_verdict(tmp_path):
    out = tmp_path / "deep" / "plan.json"
    text = run(EIGHT, "--out", out)
    for part in ("7.62 billion parameters", "fsdp2 and vllm, 1 x 8 GPUs", "KV cache", "288,000 environment steps"):
        assert part in text
    assert (
        "(not measured on this machine)" in text and "fits 80 GiB per GPU: 51.0 GiB at most, in phase rollout" in text
    )
    assert json.loads(out.read_text())["verdict"] == FITS
    small = run(EIGHT, "--gpu-gib", 24, code=1)
    assert "does not fit 24 GiB per GPU" in small
    assert "error siri.arms.skill_share=0.3: " in run(EIGHT, "siri.arms.skill_share=0.3", code=1)


def test_an_override_hydra_refuses_says_why():
    for override, says in (
        ("trainer.no_such_key=1", "trainer.no_such_key=1: no such setting"),
        ("data.x=[1", "no viable alternative at input"),
        ("+siri=[nope]", "+siri=[nope]: no such group; there are acceptance, alfworld, "),
    ):
        with pytest.raises(ComposeError) as caught:
            compose_run([override])
        text = str(caught.value)
        assert says in text
        assert "\n" not in text
        assert "search path" not in text
    assert "error +siri=[nope]: no such group; there are acceptance, alfworld, " in run("+siri=[nope]", code=1)
