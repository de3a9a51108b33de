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
"""Continuous batching on one transformers model: the engine inside the light server, free of Ray and verl.

A thread alternates between admitting the requests that wait (their prompts run packed, in chunks) and one step that
gives every running request its next token. Rows of finished requests are filled from the end, so the batch stays
dense. Weights change between two steps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from siri_verl.rollout.light_attention import DecodePlan, KVCache, PrefillPlan, Segment, check_supported, forward
from siri_verl.rollout.light_sampling import SamplingParams, sample

logger = logging.getLogger("siri_verl")


@dataclass
class Completion:
    """What became of a request.

    Attributes:
        token_ids: the reply.
        log_probs: of each token of the reply, None unless asked for.
        reason: "stop" (end token or stop string), "length" or "aborted".
        first_version: weights version at the first token, or at the abort if there is none.
        last_version: weights version at the last token.
    """

    token_ids: list[int]
    log_probs: list[float] | None
    reason: str
    first_version: int | None
    last_version: int | None


@dataclass(eq=False)
class _Request:
    request_id: str
    prompt: list[int]
    params: SamplingParams
    max_tokens: int
    future: Future = field(default_factory=Future)
    tokens: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    first_version: int | None = None

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.tokens)


class LightEngine:
    """Args:
    model: a decoder built with the light attention, see :func:`load_model`.
    decode: token ids -> text, for stop strings.
    eos_token_ids: tokens that end a reply.
    valid_vocab: ids from here on are padding of the vocabulary, never drawn.
    max_model_len: most tokens of prompt and reply together.
    max_running: most requests in a batch.
    prefill_tokens: tokens of prompts run at once; larger chunks leave the processor's caches.
    gather_seconds: how long an idle engine waits for more requests after the first.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        decode: Callable[[list[int]], str],
        eos_token_ids: Iterable[int],
        valid_vocab: int,
        max_model_len: int,
        max_running: int = 256,
        prefill_tokens: int = 2048,
        gather_seconds: float = 0.002,
    ):
        check_supported(model.config)
        self.model = model.eval()
        self.decode = decode
        self.eos_token_ids = frozenset(eos_token_ids)
        self.valid_vocab = valid_vocab
        self.max_model_len = max_model_len
        self.max_running = max_running
        self.prefill_tokens = prefill_tokens
        self.gather_seconds = gather_seconds
        self.version: int | None = None
        self.device = next(model.parameters()).device
        self._cache = KVCache(model.config, next(model.parameters()).dtype, self.device)
        self._rows: list[_Request] = []
        self._waiting: list[_Request] = []
        self._paused = False
        self._asleep = False
        self._closed = False
        self._error: BaseException | None = None
        # _state guards the lists and flags and is held briefly; _compute is held for a step or a weight update
        self._state = threading.Condition()
        self._compute = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="light-engine", daemon=True)
        self._thread.start()

    # ---- requests

    def submit(self, request_id: str, prompt: list[int], params: SamplingParams) -> Future:
        """Queue a request; the future gives a :class:`Completion`.

        Raises:
            ValueError: an empty prompt, one that leaves no room for a reply, or an id outside the vocabulary.
        """
        if not prompt:
            raise ValueError(f"request {request_id}: the prompt is empty")
        room = self.max_model_len - len(prompt)
        if room < 1:
            raise ValueError(
                f"request {request_id}: the prompt has {len(prompt)} tokens, the context (max_model_len) holds "
                f"{self.max_model_len} and needs at least 1 for the reply: shorten the prompt or raise max_model_len"
            )
        vocab = self.model.config.vocab_size
        if min(prompt) < 0 or max(prompt) >= vocab:
            bad = next(t for t in prompt if not 0 <= t < vocab)
            raise ValueError(f"request {request_id}: prompt token {bad} lies outside the vocabulary of {vocab}")
        wanted = params.max_tokens if params.max_tokens is not None else room
        request = _Request(request_id, list(prompt), params, min(wanted, room))
        with self._state:
            if self._closed:
                raise RuntimeError(f"request {request_id}: the engine is closed") from self._error
            self._waiting.append(request)
            self._state.notify_all()
        return request.future

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End requests at once, with the tokens they have; all of them when no ids are given. Returns how many."""
        with self._compute, self._state:
            ids = None if request_ids is None else set(request_ids)
            chosen = [r for r in self._waiting + self._rows if ids is None or r.request_id in ids]
            self._waiting = [r for r in self._waiting if r not in chosen]
            for row in reversed([i for i, r in enumerate(self._rows) if r in chosen]):
                self._remove_row(row)
        for request in chosen:
            self._finish(request, "aborted")
        return len(chosen)

    # ---- control

    def pause(self) -> None:
        """Stop between two steps; requests wait."""
        with self._state:
            self._paused = True

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        with self._state:
            self._paused = False
            self._state.notify_all()

    def sleep(self) -> None:
        """Pause and give the memory of keys and values back.

        Raises:
            RuntimeError: requests are running; wait for them or abort them first.
        """
        with self._compute, self._state:
            if self._rows:
                raise RuntimeError(f"sleep with {len(self._rows)} requests running: abort them or wait for them first")
            self._asleep = True
            self._cache.clear()

    def wake_up(self) -> None:
        """Serve again after :meth:`sleep`."""
        with self._state:
            self._asleep = False
            self._state.notify_all()

    def pending(self) -> int:
        """Requests that wait or run."""
        with self._state:
            return len(self._waiting) + len(self._rows)

    def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]], version: int | None = None) -> None:
        """Copy new weights in, between two steps.

        Args:
            weights: (name, tensor) pairs under the names of the model's state dict.
            version: what later completions report; None keeps the present one.

        Raises:
            KeyError: a name the model does not have.
            ValueError: a shape that does not fit, or parameters without a new value.
        """
        with self._compute, torch.no_grad():
            state = self.model.state_dict(keep_vars=True)
            missing = {t.data_ptr(): name for name, t in state.items()}  # tied tensors are one
            for name, tensor in weights:
                if name not in state:
                    raise KeyError(f"weight {name!r} is not in the model, whose names look like {next(iter(state))!r}")
                if state[name].shape != tensor.shape:
                    raise ValueError(
                        f"weight {name!r} has shape {tuple(tensor.shape)}, the model {tuple(state[name].shape)}"
                    )
                state[name].copy_(tensor)
                missing.pop(state[name].data_ptr(), None)
            if missing:
                raise ValueError(f"weight update without {sorted(missing.values())}")
            if version is not None:
                self.version = version

    def close(self) -> None:
        """End the thread; unfinished requests end as aborted."""
        with self._state:
            self._closed = True
            self._state.notify_all()
        self._thread.join(timeout=30)
        for request in self._waiting + self._rows:
            self._finish(request, "aborted")

    # ---- the thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                with self._compute:
                    self._admit()
                    self._step()
        except BaseException as error:
            logger.exception("light engine stopped")
            with self._state:
                self._closed, self._error = True, error
                left, self._waiting, self._rows = self._waiting + self._rows, [], []
            for request in left:
                request.future.set_exception(error)

    def _ready(self) -> bool:
        return self._closed or bool((self._waiting or self._rows) and not self._paused and not self._asleep)

    def _wait_for_work(self) -> bool:
        with self._state:
            idle = not self._rows
            self._state.wait_for(self._ready)
        if idle and self.gather_seconds:
            time.sleep(self.gather_seconds)
        return not self._closed

    def _admit(self) -> None:
        """Run the prompts of waiting requests and give each its first token."""
        with self._state:
            if self._paused or self._asleep:
                return
            free = self.max_running - len(self._rows)
            new, self._waiting = self._waiting[:free], self._waiting[free:]
            first = len(self._rows)
            self._rows.extend(new)
        if not new:
            return
        self._cache.reserve(len(self._rows), max(len(r.prompt) + 1 for r in new))
        logits = self._prefill(new, first)
        self._extend(list(range(first, first + len(new))), logits)

    def _prefill(self, requests: list[_Request], first_row: int) -> torch.Tensor:
        """Logits after each prompt, (requests, vocab). A prompt shared by several requests runs once."""
        leaders: dict[tuple[int, ...], int] = {}
        for i, request in enumerate(requests):
            leaders.setdefault(tuple(request.prompt), i)
        chunks: list[list[int]] = [[]]
        size = 0
        for i in leaders.values():
            if chunks[-1] and size + len(requests[i].prompt) > self.prefill_tokens:
                chunks.append([])
                size = 0
            chunks[-1].append(i)
            size += len(requests[i].prompt)
        logits: dict[int, torch.Tensor] = {}
        for chunk in chunks:
            segments, tokens, positions = [], [], []
            for i in chunk:
                prompt = requests[i].prompt
                segments.append(Segment(first_row + i, len(tokens), len(tokens) + len(prompt)))
                tokens.extend(prompt)
                positions.extend(range(len(prompt)))
            last = torch.tensor([s.end - 1 for s in segments], device=self.device)
            plan = PrefillPlan(self._cache, segments)
            out = forward(self.model, plan, self._tensor(tokens), self._tensor(positions), last)
            logits.update(zip(chunk, out, strict=True))
        for i, request in enumerate(requests):
            leader = leaders[tuple(request.prompt)]
            if leader != i:
                self._cache.move(first_row + leader, first_row + i, len(request.prompt))
                logits[i] = logits[leader]
        return torch.stack([logits[i] for i in range(len(requests))])

    def _step(self) -> None:
        """One token for every running request."""
        if not self._rows:
            return
        lengths = [r.length - 1 for r in self._rows]  # the newest token is not in the cache yet
        self._cache.reserve(len(self._rows), max(lengths) + 1)
        positions = self._tensor(lengths)
        plan = DecodePlan(self._cache, positions)
        newest = self._tensor([r.tokens[-1] for r in self._rows])
        logits = forward(self.model, plan, newest, positions, plan.rows)
        self._extend(list(range(len(self._rows))), logits)

    def _extend(self, rows: list[int], logits: torch.Tensor) -> None:
        """Draw a token for each of the rows and let go of those that are done."""
        requests = [self._rows[i] for i in rows]
        positions = np.array([r.length for r in requests])
        tokens, log_probs = sample(logits, [r.params for r in requests], positions, self.valid_vocab)
        done: list[tuple[int, str]] = []
        for row, request, token, log_prob in zip(rows, requests, tokens.tolist(), log_probs.tolist(), strict=True):
            if request.first_version is None:
                request.first_version = self.version
            request.tokens.append(token)
            request.log_probs.append(log_prob)
            if self._stops(request, token):
                done.append((row, "stop"))
            elif len(request.tokens) >= request.max_tokens:
                done.append((row, "length"))
        with self._state:
            finished = [(self._rows[row], reason) for row, reason in done]
            for row, _ in reversed(done):
                self._remove_row(row)
            self._state.notify_all()
        for request, reason in finished:
            self._finish(request, reason)

    def _stops(self, request: _Request, token: int) -> bool:
        params = request.params
        if token in params.stop_token_ids or (token in self.eos_token_ids and not params.ignore_eos):
            return True
        if not params.stop:
            return False
        # a stop string spans at most one token per byte; one more for a character cut at the window's edge
        window = max(len(s.encode()) for s in params.stop) + 1
        text = self.decode(request.tokens[-window:])
        return any(s in text for s in params.stop)

    def _remove_row(self, row: int) -> None:
        """Fill a row from the end."""
        last = self._rows.pop()
        if row < len(self._rows):
            self._cache.move(len(self._rows), row, last.length - 1)
            self._rows[row] = last

    def _finish(self, request: _Request, reason: str) -> None:
        log_probs = request.log_probs if request.params.logprobs else None
        first = self.version if request.first_version is None else request.first_version
        request.future.set_result(Completion(request.tokens, log_probs, reason, first, self.version))

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)


def load_model(
    config: Any, path: str | None, dtype: torch.dtype, device: str = "cpu", trust_remote_code: bool = False
) -> PreTrainedModel:
    """A decoder with the light attention.

    Args:
        config: its transformers configuration.
        path: folder of the weights; None leaves them random, to be filled by a weight update.
    """
    import copy

    from transformers import AutoModelForCausalLM

    from siri_verl.rollout.light_attention import IMPLEMENTATION

    config = copy.deepcopy(config)
    kwargs = {"dtype": dtype, "attn_implementation": IMPLEMENTATION, "trust_remote_code": trust_remote_code}
    if path is None:
        model = AutoModelForCausalLM.from_config(config, **kwargs)
    else:
        model = AutoModelForCausalLM.from_pretrained(path, config=config, **kwargs)
    return model.to(device).eval().requires_grad_(False)
