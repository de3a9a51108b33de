# SPDX-License-Identifier: Apache-2.0
"""The light server as verl calls it: verl's own configuration in, verl's TokenOutput out."""

import asyncio
import os
import pickle
import subprocess
import sys

import pytest
import torch
from support.tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.replica import TokenOutput

from siri_verl.light.replica import server_settings
from siri_verl.light.server import LightServer
from siri_verl.planning.compose import compose_run
from siri_verl.settings.light import LightSettings

PROMPT = list(range(10, 30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def make_server(folder):
    made = []

    def make(*overrides: str) -> LightServer:
        config = compose_run(
            [
                "+siri=cpu",
                f"actor_rollout_ref.model.path={folder}",
                "data.max_prompt_length=32",
                "data.max_response_length=16",
                *overrides,
            ]
        ).actor_rollout_ref
        made.append(LightServer(server_settings(omega_conf_to_dataclass(config.rollout), config.model, replica_rank=0)))
        return made[-1]

    yield make
    for server in made:
        server.engine.close()


@pytest.fixture
def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


async def ask(server: LightServer, prompt=PROMPT, name: str = "r", **params) -> TokenOutput:
    params = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0, "logprobs": True, **params}
    reply = await server.generate(prompt_ids=prompt, sampling_params=params, request_id=name)
    return pickle.loads(pickle.dumps(reply))  # as it arrives through Ray


def test_a_server_without_weights_answers_only_after_its_first_update(make_server, weights):
    server = make_server()

    async def run():
        with pytest.raises(RuntimeError, match="load_format"):
            await ask(server)
        await server.sleep()
        await server.wake_up(tags=["weights"])
        await server.update_weights(weights, global_steps=3)
        await server.wake_up(tags=["kv_cache"])
        return await ask(server, seed=1)

    out = asyncio.run(run())
    assert isinstance(out, TokenOutput) and out.stop_reason == "completed"
    assert len(out.token_ids) == len(out.log_probs) == 16  # response_length
    fields = out.extra_fields
    assert (fields["global_steps"], fields["min_global_steps"], fields["max_global_steps"]) == (3, 3, 3)
    assert fields["finish_reason"] == "length"


def test_a_server_with_its_own_weights_needs_no_trainer(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto")
    out = asyncio.run(ask(server, seed=1, max_tokens=3, logprobs=False))
    assert len(out.token_ids) == 3 and out.log_probs is None


def test_abort_parks_or_refuses_later_requests_until_generation_resumes(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto", "data.max_response_length=500")

    async def run():
        running = [asyncio.create_task(ask(server, name=f"r{i}", seed=i, max_tokens=400)) for i in range(4)]
        while server.engine.pending() < 4:
            await asyncio.sleep(0.001)
        assert (await server.abort_all_requests())["aborted_count"] == 4
        parked = asyncio.create_task(ask(server, seed=9, max_tokens=2))
        await asyncio.sleep(0.05)
        assert not parked.done()
        await server.resume_generation()
        admitted = await parked
        await server.abort_all_requests(reject_request=True)
        refused = await ask(server, seed=9)
        await server.resume_generation()
        return [await r for r in running], admitted, refused

    aborted, admitted, refused = asyncio.run(run())
    assert {out.stop_reason for out in aborted} == {"aborted"}
    assert refused.stop_reason == "aborted" and refused.token_ids == []
    assert admitted.stop_reason == "completed" and len(admitted.token_ids) == 2


def test_one_request_is_aborted_by_name(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto", "data.max_response_length=900")

    async def run():
        task = asyncio.create_task(ask(server, name="this", seed=1, max_tokens=900))
        while not server.engine.pending():
            await asyncio.sleep(0.001)
        assert (await server.abort_request("another"))["aborted"] is False
        assert (await server.abort_request("this"))["aborted"] is True
        return await task

    assert asyncio.run(run()).stop_reason == "aborted"


def test_the_event_loop_stays_free_while_tokens_are_made(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto", "data.max_response_length=200")

    async def run():
        tasks = [asyncio.create_task(ask(server, name=str(i), seed=i)) for i in range(32)]
        clock, gaps = asyncio.get_running_loop().time, []
        while not all(task.done() for task in tasks):
            before = clock()
            await asyncio.sleep(0.001)
            gaps.append(clock() - before)
        return sorted(gaps)

    gaps = asyncio.run(run())
    assert len(gaps) > 20 and gaps[len(gaps) // 2] < 0.05


def test_sleep_waits_for_running_requests(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto")

    async def run():
        task = asyncio.create_task(ask(server, seed=1))
        while not server.engine.pending():
            await asyncio.sleep(0.001)
        await server.sleep()
        assert task.done() or server.engine.pending() == 0
        return await task

    assert asyncio.run(run()).stop_reason == "completed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": list(range(10, 110))}, "100 tokens.*holds 48"),
        ({"temperature": -1}, "temperature=-1"),
        ({"guided_json": "{}"}, "guided_json"),
        ({"prompt_logprobs": 1000}, "prompt_logprobs=1000 exceeds the vocabulary of 259"),
    ],
)
def test_bad_requests_fail_alone(make_server, arguments, message):
    server = make_server("actor_rollout_ref.rollout.load_format=auto")

    async def run():
        good = asyncio.create_task(ask(server, seed=1))
        with pytest.raises(ValueError, match=message):
            await ask(server, **arguments)
        return await good

    assert len(asyncio.run(run()).token_ids) == 16


def test_a_text_is_scored_as_verls_distillation_teachers_do(make_server, folder):
    server = make_server("actor_rollout_ref.rollout.load_format=auto")
    # verl/experimental/teacher_loop/teacher_manager.py, _get_teacher_sampling_params
    params = {"max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 4, "detokenize": False}
    reply = pickle.loads(pickle.dumps(asyncio.run(server.generate(PROMPT, params, "r"))))
    ids = torch.tensor(reply.extra_fields["prompt_ids"], dtype=torch.int32)
    scores = torch.tensor(reply.extra_fields["prompt_logprobs"])
    assert ids.shape == scores.shape == (len(PROMPT), 4) and len(reply.token_ids) == 1
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        expected = torch.log_softmax(plain(torch.tensor([PROMPT])).logits[0, :-1], -1).topk(4)
    assert torch.equal(ids[:-1].long(), expected.indices)
    assert torch.allclose(scores[:-1], expected.values, atol=1e-4)
    assert "prompt_ids" not in asyncio.run(ask(server, max_tokens=1)).extra_fields


def test_images_are_refused(make_server):
    server = make_server("actor_rollout_ref.rollout.load_format=auto")
    with pytest.raises(ValueError, match="image_data.*text only"):
        asyncio.run(server.generate(PROMPT, {}, "r", image_data=["x"]))


def test_settings_that_do_not_fit_are_refused(make_server):
    with pytest.raises(ValueError, match="max_position_embeddings 1024"):
        make_server("data.max_prompt_length=2000")
    with pytest.raises(ValueError, match="rollout.dtype='int4'"):
        make_server("actor_rollout_ref.rollout.dtype=int4")
    with pytest.raises(ValueError, match=r"unknown options \['num_thread'\].*num_threads"):
        LightSettings.from_mapping({"num_thread": 2})


def test_options_reach_the_engine(make_server):
    server = make_server("+actor_rollout_ref.rollout.engine_kwargs.light={prefill_tokens: 77, prefix_cache_mb: 3}")
    assert server.engine.model.prefill_tokens == 77
    assert server.engine.model.prefixes.max_bytes == 3 << 20


def test_the_servers_process_does_not_import_verl():
    code = (
        "import sys, siri_verl.light.server, siri_verl.light.engine; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'verl', 'transfer_queue', 'tensordict', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr[-1000:]
