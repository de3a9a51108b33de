# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""Any OpenAI-compatible endpoint as the miner, to compare self-mined skills with those a closed model writes.

Needs nothing beside the standard library: one POST to `<base_url>/chat/completions` per prompt.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class EndpointError(RuntimeError):
    """The endpoint did not answer as expected. The message names the address and what came back."""


@dataclass
class EndpointSettings:
    """Where the outside miner listens."""

    base_url: str = ""
    """For example http://localhost:8000/v1. Empty: the policy itself mines."""
    model: str = ""
    """The model's name at the endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; unset means no key is sent. The key itself never stands in a
    configuration."""
    temperature: float = 1.0
    """Sampling temperature."""
    max_tokens: int = 256
    """Longest answer."""
    timeout: float = 60.0
    """Seconds to wait for one answer."""
    retries: int = 3
    """Further attempts after a refusal for load (429), a server's fault (5xx) or a broken connection."""
    parallel: int = 4
    """Requests in flight."""

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, fix: str) -> None:
            if not ok:
                raise ValueError(f"siri.mining_endpoint.{name}={getattr(self, name)!r}: {fix}")

        if self.base_url:
            need(urlsplit(self.base_url).scheme in ("http", "https"), "base_url", "use http://... or https://...")
            need(bool(self.model), "model", "name the endpoint's model")
        need(self.temperature >= 0, "temperature", "use 0 or more")
        need(self.max_tokens >= 1, "max_tokens", "use at least 1")
        need(self.timeout > 0, "timeout", "use seconds > 0")
        need(self.retries >= 0, "retries", "use 0 or more")
        need(self.parallel >= 1, "parallel", "use at least 1")


class EndpointWriter:
    """`generate(prompts) -> texts` over an endpoint."""

    def __init__(self, settings: EndpointSettings, wait: float = 1.0):
        """
        Args:
            settings: where and how; `base_url` and `model` must be set.
            wait: seconds before the first retry; doubled for each further one.
        """
        if not settings.base_url:
            raise ValueError("siri.mining_endpoint.base_url='': an endpoint miner needs an address")
        self.settings = settings
        self.wait = wait

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Answers to the prompts, in order.

        Raises:
            EndpointError: a request failed after all attempts, or the answer has no text.
        """
        with ThreadPoolExecutor(self.settings.parallel) as threads:
            return list(threads.map(self._ask, prompts))

    def _ask(self, prompt: str) -> str:
        s = self.settings
        address = s.base_url.rstrip("/") + "/chat/completions"
        body = {
            "model": s.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": s.temperature,
            "max_tokens": s.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        key = os.environ.get(s.api_key_env, "")
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(address, json.dumps(body).encode("utf-8"), headers)
        for attempt in range(s.retries + 1):
            try:
                with urllib.request.urlopen(request, timeout=s.timeout) as reply:
                    return _text(address, reply.read())
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}: {error.read(300).decode('utf-8', 'replace')}"
                if error.code != 429 and error.code < 500:
                    raise EndpointError(f"{address}: {problem}") from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                problem = str(getattr(error, "reason", error))
            if attempt < s.retries:
                time.sleep(self.wait * 2**attempt)
        raise EndpointError(f"{address}: {problem} (after {s.retries + 1} attempts)")


def _text(address: str, raw: bytes) -> str:
    try:
        data: Any = json.loads(raw)
        content = data["choices"][0]["message"]["content"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError) as error:
        raise EndpointError(f"{address}: not a chat completion: {raw[:200]!r}") from error
    if not isinstance(content, str):
        raise EndpointError(f"{address}: the answer's content is {content!r}, expected text")
    return content
