# SPDX-License-Identifier: Apache-2.0
"""Continuous batching on one transformers model: the engine inside the light server, free of Ray and verl.

A thread alternates between admitting the requests that wait (their prompts run packed, in chunks) and one step that
gives every running request its next token. Rows of finished requests are filled from the end, so the batch stays
dense. Weights change between two steps.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future

import numpy as np
import torch

from siri_verl.light.model import LightModel
from siri_verl.light.request import Completion, Request
from siri_verl.light.sampling import SamplingParams, sample, score_prompt

logger = logging.getLogger("siri_verl")


class LightEngine:
    """Args:
    model: model and cache.
    decode: token ids -> text, for stop strings.
    eos_token_ids: tokens that end a reply.
    valid_vocab: ids from here on are padding of the vocabulary, never drawn.
    max_model_len: most tokens of prompt and reply together.
    max_running: most requests in a batch.
    gather_seconds: how long an idle engine waits for more requests after the first.
    """

    def __init__(
        self,
        model: LightModel,
        decode: Callable[[list[int]], str],
        eos_token_ids: Iterable[int],
        valid_vocab: int,
        max_model_len: int,
        max_running: int = 256,
        gather_seconds: float = 0.002,
    ):
        self.model = model
        self.decode = decode
        self.eos_token_ids = frozenset(eos_token_ids)
        self.valid_vocab = valid_vocab
        self.max_model_len = max_model_len
        self.max_running = max_running
        self.gather_seconds = gather_seconds
        self.version: int | None = None
        self._rows: list[Request] = []
        self._waiting: list[Request] = []
        self._asleep = False
        self._updates = 0
        self._closed = False
        self._error: BaseException | None = None
        # _state guards the lists and flags and is held briefly; _compute is held for a step or a weight update
        self._state = threading.Condition()
        self._compute = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="light-engine", daemon=True)
        self._thread.start()
        # A thread inside torch while the interpreter shuts down would abort the process.
        atexit.register(self.close)

    # ---- requests

    def submit(self, request_id: str, prompt: list[int], params: SamplingParams) -> Future:
        """Queue a request; the future gives a :class:`Completion`.

        Raises:
            ValueError: an empty prompt, one that leaves no room for a reply, an id outside the vocabulary, or
                prompt_logprobs beyond it.
        """
        if not prompt:
            raise ValueError(f"request {request_id}: the prompt is empty")
        room = self.max_model_len - len(prompt)
        if room < 1:
            raise ValueError(
                f"request {request_id}: the prompt has {len(prompt)} tokens, the context (max_model_len) holds "
                f"{self.max_model_len} and needs at least 1 for the reply: shorten the prompt or raise max_model_len"
            )
        vocab = self.model.vocab_size
        if min(prompt) < 0 or max(prompt) >= vocab:
            bad = next(t for t in prompt if not 0 <= t < vocab)
            raise ValueError(f"request {request_id}: prompt token {bad} lies outside the vocabulary of {vocab}")
        if (params.prompt_logprobs or 0) > vocab:
            raise ValueError(
                f"request {request_id}: prompt_logprobs={params.prompt_logprobs} exceeds the vocabulary of {vocab}"
            )
        wanted = params.max_tokens if params.max_tokens is not None else room
        request = Request(request_id, list(prompt), params, min(wanted, room))
        with self._state:
            if self._closed:
                raise RuntimeError(f"request {request_id}: the engine is closed") from self._error
            self._waiting.append(request)
            self._state.notify_all()
        return request.future

    def abort(self, request_ids: Iterable[str] | None = None) -> int:
        """End requests immediately, with the tokens they have; all of them when no ids are given. Returns how many."""
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

    def clear_prefixes(self) -> None:
        """Forget the keys and values of earlier prompts."""
        with self._compute:
            self.model.prefixes.clear()

    def sleep(self) -> None:
        """Give the memory of keys and values back; requests wait for :meth:`wake_up`.

        Raises:
            RuntimeError: requests are running; wait for them or abort them first.
        """
        with self._compute, self._state:
            if self._rows:
                raise RuntimeError(f"sleep with {len(self._rows)} requests running: abort them or wait for them first")
            self._asleep = True
            self.model.release()

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
        """Copy new weights in, between two steps; see :meth:`LightModel.update_weights`.

        Args:
            weights: (name, tensor) pairs.
            version: what later completions report; None keeps the current one.
        """
        with self._state:
            self._updates += 1  # else the thread, which takes the lock at every step, may keep it to the end of a reply
        try:
            with self._compute:
                self.model.update_weights(weights)
                if version is not None:
                    self.version = version
        finally:
            with self._state:
                self._updates -= 1
                self._state.notify_all()

    def close(self) -> None:
        """End the thread; unfinished requests end as aborted."""
        atexit.unregister(self.close)
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
        return self._closed or bool((self._waiting or self._rows) and not self._asleep and not self._updates)

    def _wait_for_work(self) -> bool:
        with self._state:
            idle = not self._rows
            self._state.wait_for(self._ready)
        if idle and self.gather_seconds:
            time.sleep(self.gather_seconds)
        return not self._closed

    def _admit(self) -> None:
        """Run the prompts of waiting requests and draw the first token of each."""
        with self._state:
            if self._asleep:
                return
            free = self.max_running - len(self._rows)
            new, self._waiting = self._waiting[:free], self._waiting[free:]
            first = len(self._rows)
            self._rows.extend(new)
        if not new:
            return
        scored = [r for r in new if r.params.prompt_logprobs is not None]
        for request, logits in zip(scored, self.model.score([r.prompt for r in scored], first), strict=True):
            request.prompt_scores = score_prompt(logits, request.prompt, request.params)
        logits = self.model.prefill([r.prompt for r in new], first)
        self._extend(list(range(first, first + len(new))), logits)

    def _step(self) -> None:
        """One token for every running request."""
        if self._rows:
            # the newest token of a row is not in the cache yet
            logits = self.model.decode([r.tokens[-1] for r in self._rows], [r.length - 1 for r in self._rows])
            self._extend(list(range(len(self._rows))), logits)

    def _extend(self, rows: list[int], logits: torch.Tensor) -> None:
        """Draw a token for each of the rows and remove the rows that are done."""
        requests = [self._rows[i] for i in rows]
        positions = np.array([r.length for r in requests])
        tokens, log_probs = sample(logits, [r.params for r in requests], positions, self.valid_vocab)
        done: list[tuple[int, str]] = []
        for row, request, token, log_prob in zip(rows, requests, tokens.tolist(), log_probs.tolist(), strict=True):
            if request.first_version is None:
                request.first_version = self.version
            request.tokens.append(token)
            request.log_probs.append(log_prob)
            if request.stopped(self.eos_token_ids, self.decode):
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

    def _remove_row(self, row: int) -> None:
        """Fill a row from the end."""
        last = self._rows.pop()
        if row < len(self._rows):
            self.model.move(len(self._rows), row, last.length - 1)
            self._rows[row] = last

    def _finish(self, request: Request, reason: str) -> None:
        log_probs = request.log_probs if request.params.logprobs else None
        first = self.version if request.first_version is None else request.first_version
        scores = request.prompt_scores
        request.future.set_result(Completion(request.tokens, log_probs, reason, first, self.version, scores))
