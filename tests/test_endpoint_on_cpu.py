# SPDX-License-Identifier: Apache-2.0
"""An endpoint's key is never repeated, and whatever an endpoint answers is text or a named error."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from siri_verl.endpoint import Endpoint, EndpointError, EndpointSettings, RequestRefusedError
from siri_verl.failures import ConfigError

KEY = "sk-planted-0123456789"


@pytest.fixture
def server(monkeypatch):
    """Answers with `answer` (status, body), in which KEY stands for the key it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = made.answer
            sent = self.headers["Authorization"].removeprefix("Bearer ")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            body = body.replace(b"KEY", sent.encode())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    monkeypatch.setenv("PLANTED_KEY", KEY)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    settings = EndpointSettings(
        f"http://127.0.0.1:{made.server_port}/v1", "m", api_key_env="PLANTED_KEY", timeout=10, retries=0
    )
    made.endpoint = Endpoint(settings)
    yield made
    made.endpoint.close()
    made.shutdown()
    made.server_close()


def ask(server, status, body, text="hello"):
    server.answer = status, body
    return server.endpoint.chat([{"role": "user", "content": text}], temperature=0.0, max_tokens=4)


def completion(content, **more):
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}], **more}


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_an_error_that_repeats_the_key(server, status):
    with pytest.raises(EndpointError, match=rf"status {status}.*\*\*\*") as found:
        ask(server, status, {"error": {"message": "Incorrect key KEY provided"}})
    error = found.value
    while error is not None:
        assert KEY not in str(error) and KEY not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_an_answer_that_repeats_the_key(server):
    assert ask(server, 200, completion("your key is KEY")).text == "your key is ***"
    with pytest.raises(EndpointError, match=r"not a chat completion.*\*\*\*"):
        ask(server, 200, {"choices": "KEY" * 3})


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff\xfe", b"null", b"[]", b'"text"', b"{", b"[" * 100_000, b'{"choices": []}', b'{"choices": {"a": 1}}',
        b'{"choices": [null]}', b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": 7}}]}', b'{"choices": [{"message": {"content": ["a"]}}]}',
        b"<html>busy</html>",
    ],
)  # fmt: skip
def test_garbage_is_a_named_error(server, body):
    with pytest.raises(EndpointError, match=str(server.server_port)):
        ask(server, 200, body)


@pytest.mark.parametrize("text", ["", "\x00\x1b[31m", "<|im_end|>", "\u202e"])
def test_any_text_is_an_answer(server, text):
    assert ask(server, 200, completion(text)).text == text


def test_counts_that_are_no_counts_are_unknown(server):
    usage = {"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": 1e400}
    found = ask(server, 200, json.dumps(completion("a", usage=usage)).encode())
    assert (found.prompt_tokens, found.reply_tokens) == (None, None)


def test_half_of_a_surrogate_pair_can_be_asked(server):
    assert ask(server, 200, completion("a"), text="cut \ud83d").text == "a"


def test_a_refused_request_stays_one(server):
    with pytest.raises(RequestRefusedError):
        ask(server, 422, {"error": "filtered"})


@pytest.mark.parametrize("url", ["http://me:secret1@host/v1", "https://secret1@host/v1"])
def test_a_key_in_the_address_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigError, match="api_key_env") as found:
        EndpointSettings(url, "m")
    assert "secret1" not in str(found.value)
