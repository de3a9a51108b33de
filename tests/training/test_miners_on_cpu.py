# SPDX-License-Identifier: Apache-2.0
"""The endpoint client, and the miner over it, against a real HTTP server in this process."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.configs import toy_config

from siri_verl.core.seeding import derive_seed
from siri_verl.endpoint import ContextLengthError, Endpoint, EndpointError, EndpointSettings, RequestRefusedError
from siri_verl.settings.read import siri_settings
from siri_verl.skills.pool import SourceTrajectory
from siri_verl.training.method import Siri
from siri_verl.training.miners import EndpointMiner, PolicyMiner, make_miner
from siri_verl.training.planner import DatasetPlanner
from siri_verl.training.preflight.skills import check_skill_inputs


class Server:
    """Answers each prompt with itself in capitals, after the refusals it was given."""

    def __init__(self):
        self.requests, self.refusals, self.raw, self.refusal = [], [], None, b"try later"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, self.headers.get("Authorization"), body))
                status = outer.refusals.pop(0) if outer.refusals else 200
                text = body["messages"][0]["content"].upper()
                answer = outer.raw or json.dumps({"choices": [{"message": {"content": text}}]}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer if status == 200 else outer.refusal)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1/"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def writer(server, temperature=1.0, max_tokens=256, **changes):
    return EndpointMiner(EndpointSettings(base_url=server.url, model="m", **changes), temperature, max_tokens)


def test_answers_come_in_order_of_the_prompts(server):
    prompts = [f"prompt {i}" for i in range(12)]
    assert writer(server, temperature=0.5, max_tokens=9)(prompts) == [p.upper() for p in prompts]
    path, _, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.5, 9)


def test_a_prompt_that_the_endpoint_refuses_has_an_empty_answer_and_many_of_them_are_an_error(server):
    server.refusals = [400]
    prompts = [f"prompt {i}" for i in range(4)]
    answers = writer(server, parallel=1)(prompts)
    assert answers == ["", *(p.upper() for p in prompts[1:])]
    server.refusals = [400] * 3
    with pytest.raises(RequestRefusedError, match="status 400"):
        writer(server, parallel=1)(prompts)


def test_the_key_is_read_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("MINER_KEY", "abc")
    writer(server, api_key_env="MINER_KEY")(["x"])
    assert server.requests[-1][1] == "Bearer abc"
    monkeypatch.delenv("MINER_KEY")
    writer(server, api_key_env="MINER_KEY")(["x"])
    assert server.requests[-1][1] == "Bearer none"


def test_load_and_server_faults_are_tried_again(server):
    server.refusals = [429, 503]
    assert writer(server)(["x"]) == ["X"] and len(server.requests) == 3


def test_a_lasting_fault_is_named(server):
    server.refusals = [500] * 9
    with pytest.raises(EndpointError, match=r"chat/completions: status 500: try later \(after 3 attempts\)"):
        writer(server, retries=2)(["x"])


def test_a_refusal_is_not_tried_again(server):
    server.refusals = [401]
    with pytest.raises(EndpointError, match="status 401"):
        writer(server)(["x"])
    assert len(server.requests) == 1


@pytest.mark.parametrize("raw", [b"hello", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'])
def test_answers_without_text_are_named(server, raw):
    server.raw = raw
    with pytest.raises(EndpointError, match="not a chat completion|expected text"):
        writer(server)(["x"])


def test_nobody_listens():
    settings = EndpointSettings(base_url="http://127.0.0.1:9", model="m", retries=0, timeout=2)
    with pytest.raises(EndpointError, match="127.0.0.1:9/chat/completions: .*refused.*after 1 attempts"):
        EndpointMiner(settings)(["x"])


@pytest.mark.parametrize(
    "text, kind",
    [
        (b'{"error": {"code": "context_length_exceeded"}}', ContextLengthError),
        (b'{"message": "This model\'s maximum context length is 512 tokens"}', ContextLengthError),
        (b'{"message": "temperature must be a number"}', RequestRefusedError),
    ],
)
def test_messages_that_are_too_long_are_told_from_other_refusals(server, text, kind):
    server.refusals, server.refusal = [400], text
    with pytest.raises(EndpointError, match="status 400") as caught:
        writer(server)(["x"])
    assert caught.type is kind and len(server.requests) == 1


def test_sampling_and_counts(server):
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    server.raw = json.dumps({"choices": [{"message": {"content": "yes"}}], "usage": usage}).encode()
    endpoint = Endpoint(EndpointSettings(base_url=server.url, model="m"))
    try:
        said = endpoint.chat(
            [{"role": "user", "content": "x"}], temperature=0.4, top_p=0.9, top_k=5, max_tokens=8, seed=11
        )
        endpoint.chat([{"role": "user", "content": "x"}], temperature=0.4, max_tokens=8)
    finally:
        endpoint.close()
    assert (said.text, said.prompt_tokens, said.reply_tokens) == ("yes", 7, 3)
    full, bare = (body for _, _, body in server.requests)
    assert (full["top_p"], full["top_k"], full["seed"]) == (0.9, 5, 11)
    assert "top_k" not in bare and "seed" not in bare


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(base_url="localhost:8000", model="m"), "base_url='localhost:8000'"),
        (dict(base_url="", model="m"), "base_url=''"),
        (dict(base_url="http://x"), "model=''"),
        (dict(base_url="http://x", model="m", retries=-1), "retries=-1"),
        (dict(base_url="http://x", model="m", parallel=0), "parallel=0"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=f"endpoint.{message}"):
        EndpointSettings(**options)


def test_bad_sampling_is_named(server):
    with pytest.raises(ValueError, match="max_tokens=0"):
        writer(server, max_tokens=0)
    with pytest.raises(ValueError, match="temperature=-1"):
        writer(server, temperature=-1)


# ---- as the miner of a run -------------------------------------------------------------------------------------------


def run_config(*overrides):
    return toy_config(*overrides)


def test_a_run_whose_miner_is_an_endpoint_mines_through_it(server, monkeypatch):
    monkeypatch.setenv("MINER_KEY", "abc")
    text = "condition: a note is there\nstrategy: read the note and go there first"
    usage = {"prompt_tokens": 50, "completion_tokens": 12, "total_tokens": 62}
    server.raw = json.dumps({"choices": [{"message": {"content": text}}], "usage": usage}).encode()
    given = {"base_url": server.url, "model": "big-model", "api_key_env": "MINER_KEY"}
    config = run_config(
        *(f"siri.mining.endpoint.{name}={value}" for name, value in given.items()),
        *("siri.mining.max_tokens=33", "siri.rollout.request_seeds=True", "actor_rollout_ref.rollout.temperature=0.7"),
    )
    settings = siri_settings(config)
    check_skill_inputs(settings)
    writer = make_miner(config, settings, client=None, tokenizer=None)
    run = Siri(settings, 4, DatasetPlanner({}, str))
    turns = (("a note", "read the note"), ("a coin", "take it"))
    for number in (1, 2):
        run.pool.add(
            [SourceTrajectory(f"task-{number}", "find the coin", "coin", f"3/task-{number}/0", 3, turns, True)]
        )
    report = run.mine(partial(writer, step=5), 5)
    (skill,) = run.bank.skills.values()
    assert report.entered == [skill.skill_id] and report.problems == {"duplicate": 1}
    assert skill.provenance.miner == "big-model" and skill.strategy == "read the note and go there first"
    assert (writer.prompt_tokens, writer.generated_tokens) == (100, 24)
    bodies = [body for _, key, body in server.requests if key == "Bearer abc"]
    assert len(bodies) == 2 and all("find the coin" in body["messages"][0]["content"] for body in bodies)
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in bodies} == {("big-model", 0.7, 33)}
    assert {body["seed"] for body in bodies} == {derive_seed(settings.seed, "mining", 5, n) for n in (0, 1)}


def test_without_an_endpoint_the_policy_mines():
    config = run_config()
    settings = siri_settings(config)
    assert isinstance(make_miner(config, settings, client=None, tokenizer=None), PolicyMiner)
    assert Siri(settings, 4, DatasetPlanner({}, str)).miner.miner == "policy"
