# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-compatible server whose model always gives one reply; some requests it refuses."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def oracle(reply, refused=(), status=400):
    """The address. A request that contains one of the texts `refused` gets this status, and back the key it sent."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            bad = any(text in asked for text in refused)
            message = {"role": "assistant", "content": reply}
            sent = self.headers["Authorization"]
            body = {"error": {"message": f"content filter, {sent}"}} if bad else {
                "id": "x", "object": "chat.completion", "created": 1, "model": "oracle",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }  # fmt: skip
            text = json.dumps(body).encode()
            self.send_response(status if bad else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
