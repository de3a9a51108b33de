# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible server over a real model on the light engine, in this process."""

import socket
import threading
import time
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from siri_verl.light.policy import LightPolicy, Sampling
from siri_verl.light.sampling import SamplingParams

CONTEXT = 256


def make_app(policy: LightPolicy, asked: list[dict]) -> FastAPI:
    """`asked` gets the body of every request."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    def complete(body: dict, request: Request):
        asked.append(body)
        ids = policy.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        if len(ids) + body["max_tokens"] > CONTEXT:
            message = f"This model's maximum context length is {CONTEXT} tokens; you asked for more."
            return JSONResponse({"error": {"message": message, "code": 400}}, status_code=400)
        names = ("temperature", "top_p", "top_k", "max_tokens", "seed")
        params = SamplingParams.from_mapping({name: body[name] for name in names if name in body})
        tokens = policy.engine.submit(f"r{len(asked)}", list(ids), params).result(60).token_ids
        text = policy.tokenizer.decode(tokens, skip_special_tokens=True)
        return {
            "id": f"r{len(asked)}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}},
            ],
            "usage": {
                "prompt_tokens": len(ids),
                "completion_tokens": len(tokens),
                "total_tokens": len(ids) + len(tokens),
            },
        }

    return app


@contextmanager
def chat_server(model_folder):
    """(address, requests seen so far)."""
    policy = LightPolicy(model_folder, Sampling(), max_prompt_length=CONTEXT - 24, max_response_length=24)
    asked: list[dict] = []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(policy, asked), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", asked
    finally:
        server.should_exit = True
        thread.join(30)
        policy.close()
