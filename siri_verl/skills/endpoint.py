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
"""Any OpenAI-compatible endpoint as the miner, to compare self-mined skills with those a closed model writes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from siri_verl.endpoint import Endpoint, EndpointSettings


class EndpointWriter:
    """`generate(prompts) -> texts` over an endpoint.

    Args:
        settings: where the endpoint listens.
        temperature: of sampling.
        max_tokens: longest answer.
    """

    def __init__(self, settings: EndpointSettings, temperature: float = 1.0, max_tokens: int = 256):
        if temperature < 0:
            raise ValueError(f"endpoint miner: temperature={temperature!r}: use 0 or more")
        if max_tokens < 1:
            raise ValueError(f"endpoint miner: max_tokens={max_tokens!r}: use at least 1")
        self.settings, self.temperature, self.max_tokens = settings, temperature, max_tokens

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Answers to the prompts, in order.

        Raises:
            EndpointError: a request failed after all attempts, or the answer has no text.
        """
        endpoint = Endpoint(self.settings)

        def ask(prompt: str) -> str:
            messages = [{"role": "user", "content": prompt}]
            return endpoint.chat(messages, temperature=self.temperature, max_tokens=self.max_tokens).text

        try:
            with ThreadPoolExecutor(self.settings.parallel) as threads:
                return list(threads.map(ask, prompts))
        finally:
            endpoint.close()
