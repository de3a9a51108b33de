# SPDX-License-Identifier: Apache-2.0
"""One client for any OpenAI-compatible endpoint: the model under evaluation, or the miner of skills.

The `openai` package does the work (retries with growing waits, Retry-After, connection pool); this module sets the
address and the number of parallel requests, and reports errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from siri_verl.failures import ConfigError, check_field
from siri_verl.files import without_surrogates

SHORTEST_KEY = 8
"""Characters of the shortest key that is looked for in answers and messages; shorter ones are ordinary words."""
ANSWER_CHARS = 300
"""Of an answer that is not understood, in messages."""

Message = Mapping[str, str]
"""`{"role": "user" or "assistant", "content": text}`."""


class EndpointError(RuntimeError):
    """The endpoint did not answer as expected. The message names the address and what came back."""


class RequestRefusedError(EndpointError):
    """The endpoint refused this one request (status 400, 413 or 422: a content filter, say). Others may pass."""


class ContextLengthError(RequestRefusedError):
    """The messages do not fit into the model behind the endpoint."""


@dataclass
class EndpointSettings:
    """Where an endpoint listens."""

    base_url: str = ""
    """For example http://localhost:8000/v1."""
    model: str = ""
    """The model's name at the endpoint."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; where it is unset, the word `none` is sent, as local servers expect. The
    key itself never stands in a configuration."""
    timeout: float = 60.0
    """Seconds to wait for one answer."""
    retries: int = 3
    """Further attempts after a refusal for load (429), a server's fault (5xx) or a broken connection."""
    parallel: int = 4
    """Requests in flight."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        is_url = parts.scheme in ("http", "https") and bool(parts.netloc)
        check_field(self, "endpoint.base_url", is_url, "use http://... or https://...")
        if parts.username or parts.password:  # the value is not repeated: it holds a secret
            raise ConfigError("endpoint.base_url: holds a user name or password; put the key into endpoint.api_key_env")
        check_field(self, "endpoint.model", bool(self.model), "name the endpoint's model")
        check_field(self, "endpoint.timeout", self.timeout > 0, "use seconds > 0")
        check_field(self, "endpoint.retries", self.retries >= 0, "use 0 or more")
        check_field(self, "endpoint.parallel", self.parallel >= 1, "use at least 1")


@dataclass(frozen=True)
class Completion:
    """An endpoint's answer.

    Attributes:
        text: what the model wrote.
        prompt_tokens, reply_tokens: as the endpoint counts them, None where it does not count.
        opening: what of the reply stands in the prompt, where that is known.
    """

    text: str
    prompt_tokens: int | None
    reply_tokens: int | None
    opening: str = ""


class Endpoint:
    """Chat completions of one model; `settings.parallel` threads at a time may call it."""

    def __init__(self, settings: EndpointSettings):
        from openai import OpenAI

        self.settings = settings
        self.address = settings.base_url.rstrip("/") + "/chat/completions"
        self._key = os.environ.get(settings.api_key_env) or "none"
        self._client = OpenAI(
            base_url=settings.base_url,
            api_key=self._key,
            timeout=settings.timeout,
            max_retries=settings.retries,
        )

    def chat(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        max_tokens: int,
        top_p: float = 1.0,
        top_k: int = -1,
        seed: int | None = None,
    ) -> Completion:
        """One answer.

        Args:
            messages: the conversation.
            temperature: 0 takes the most likely token.
            max_tokens: longest answer.
            top_p: share of probability kept.
            top_k: number of tokens kept; -1 keeps all and sends nothing, since OpenAI's own endpoint has no such field.
            seed: of the sampling, where the endpoint honours one.

        Raises:
            ContextLengthError: the messages are too long.
            RequestRefusedError: the endpoint refused this request.
            EndpointError: the request failed after all attempts, or the answer has no text.
        """
        import openai

        options: dict[str, Any] = {} if seed is None else {"seed": seed}
        if top_k > 0:
            options["extra_body"] = {"top_k": top_k}
        try:
            answer = self._client.chat.completions.create(
                model=self.settings.model,
                messages=without_surrogates([dict(message) for message in messages]),
                temperature=temperature,
                top_p=top_p,
                max_tokens=max_tokens,
                **options,
            )
        except openai.APIStatusError as error:
            text = error.response.text[:ANSWER_CHARS]
            kind = RequestRefusedError if error.status_code in (400, 413, 422) else EndpointError
            kind = ContextLengthError if error.status_code == 400 and _too_long(text) else kind
            raise self._error(f"status {error.status_code}: {text}{self._attempts(error)}", kind) from None
        except openai.APIConnectionError as error:
            raise self._error(f"{error.__cause__ or error}{self._attempts(error)}") from None
        except (openai.APIError, ValueError, RecursionError) as error:
            raise self._error(f"not a chat completion ({error})") from None
        return self._read(answer)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _error(self, text: str, kind: type[EndpointError] = EndpointError) -> EndpointError:
        """An error without the key. It is raised without its cause, whose message may repeat the key."""
        return kind(f"{self.address}: {self._without_key(text)}")

    def _without_key(self, text: str) -> str:
        """A text of the endpoint, which may repeat what it was sent."""
        return text.replace(self._key, "***") if len(self._key) >= SHORTEST_KEY else text

    def _attempts(self, error: Exception) -> str:
        status = getattr(error, "status_code", 500)
        return f" (after {self.settings.retries + 1} attempts)" if status == 429 or status >= 500 else ""

    def _read(self, answer: Any) -> Completion:
        try:
            message = answer.choices[0].message
            content = message.content
        except (AttributeError, IndexError, KeyError, TypeError):
            raise self._error(f"not a chat completion: {str(answer)[:ANSWER_CHARS]!r}") from None
        # Servers with a reasoning parser return the think block apart, under one of two names (vLLM, SGLang).
        thoughts = (getattr(message, name, None) for name in ("reasoning_content", "reasoning"))
        thought = next((text for text in thoughts if isinstance(text, str) and text), None)
        if thought is not None:
            content = f"<think>{thought}</think>{content or ''}"
        if not isinstance(content, str):
            raise self._error(f"the answer's content is {str(content)[:ANSWER_CHARS]!r}, expected text")
        usage = getattr(answer, "usage", None)
        counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
        return Completion(self._without_key(content), *(n if type(n) is int and n >= 0 else None for n in counts))


def _too_long(text: str) -> bool:
    # OpenAI's error code; the words of vLLM, SGLang and others.
    return any(words in text.lower() for words in ("context_length_exceeded", "context length", "maximum context"))
