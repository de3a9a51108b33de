# SPDX-License-Identifier: Apache-2.0
"""Sampling of the light server: parameters of a request, and one vectorised draw for a batch of rows.

A token is the inverse of the cumulative distribution at one uniform number. That number is a hash of the request's
seed and of the token's position in the whole sequence (SplitMix64, Steele et al. 2014), so a seeded request draws the
same numbers whatever it is batched with, and a request resumed after an abort continues where it stopped. What is left
of the batch is float rounding: other neighbours change a logit by about 1e-7, which changes a drawn token about once
in a million.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_KNOWN = (
    "temperature, top_p, top_k, max_tokens, max_new_tokens, stop, stop_token_ids, seed, logprobs, prompt_logprobs, "
    "ignore_eos, detokenize (without effect), repetition_penalty (1.0 only)"
)


@dataclass(frozen=True)
class SamplingParams:
    """How one request is sampled.

    Attributes:
        temperature: 0 takes the most likely token.
        top_p: share of probability kept, in (0, 1].
        top_k: number of tokens kept; -1 or 0 keeps all.
        max_tokens: most new tokens; None leaves it to the server.
        stop: strings that end the reply; the token that completes one is kept.
        stop_token_ids: tokens that end the reply, beside the model's own.
        seed: 64 bits; a random one when the request names none.
        logprobs: whether log-probs are returned.
        prompt_logprobs: K most likely tokens that are scored at each token of the prompt; 0: the prompt's own tokens;
            None: none.
        ignore_eos: go on after an end token.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: frozenset[int] = frozenset()
    seed: int = 0
    logprobs: bool = False
    prompt_logprobs: int | None = None
    ignore_eos: bool = False

    @classmethod
    def from_mapping(cls, params: Mapping[str, Any]) -> SamplingParams:
        """Read the parameters verl or an agent loop sends with a request (vLLM's names).

        Raises:
            ValueError: an unknown name or a value outside its range; names both.
        """
        given = dict(params)

        def take(name: str, default: Any) -> Any:
            value = given.pop(name, None)
            return default if value is None else value

        def refuse(name: str, value: Any, expected: str) -> None:
            raise ValueError(f"sampling parameter {name}={value!r}: expected {expected}")

        temperature = float(take("temperature", 1.0))
        if not 0.0 <= temperature < float("inf"):
            refuse("temperature", temperature, "a number of at least 0")
        top_p = float(take("top_p", 1.0))
        if not 0.0 < top_p <= 1.0:
            refuse("top_p", top_p, "a number in (0, 1]")
        top_k = int(take("top_k", -1))
        if top_k < -1:
            refuse("top_k", top_k, "-1 (all), 0 (all) or a positive number")
        max_new_tokens = take("max_new_tokens", None)
        max_tokens = take("max_tokens", max_new_tokens)
        if max_tokens is not None and int(max_tokens) < 1:
            refuse("max_tokens", max_tokens, "at least 1")
        stop = take("stop", ())
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if any(not isinstance(s, str) or not s for s in stop):
            refuse("stop", stop, "non-empty strings")
        penalty = float(take("repetition_penalty", 1.0))
        if penalty != 1.0:
            refuse("repetition_penalty", penalty, "1.0: the light server has no penalty")
        columns = take("prompt_logprobs", None)
        if columns is not None and int(columns) < 0:
            refuse("prompt_logprobs", columns, "0 (the prompt's own tokens) or a positive number")
        take("detokenize", None)  # replies are token ids
        seed = take("seed", None)
        read = cls(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=None if max_tokens is None else int(max_tokens),
            stop=stop,
            stop_token_ids=frozenset(int(t) for t in take("stop_token_ids", ())),
            seed=secrets.randbits(64) if seed is None else seed_bits(seed),
            logprobs=take("logprobs", False) is not False,
            prompt_logprobs=None if columns is None else int(columns),
            ignore_eos=bool(take("ignore_eos", False)),
        )
        if given:
            raise ValueError(f"sampling parameters {sorted(given)} are unknown to the light server; it knows {_KNOWN}")
        return read


def seed_bits(seed: int) -> int:
    """64 well-mixed bits of any integer seed."""
    digest = hashlib.blake2b(str(int(seed)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def uniforms(seeds: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """One number in [0, 1) for each (seed, position): SplitMix64.

    Args:
        seeds: uint64, (rows,).
        positions: uint64, (rows,), index of the token in prompt plus reply.

    Returns:
        float64, (rows,).
    """
    with np.errstate(over="ignore"):
        z = seeds + (positions + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _keep_likely(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero what top_k and top_p cut off.

    Args:
        probs: (rows, vocab), float64.
        top_k: (rows,), at least 1.
        top_p: (rows,), in (0, 1].
    """
    ordered, index = probs.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(probs.shape[-1], device=probs.device)
    kept = torch.where(rank < top_k[:, None], ordered, 0.0)
    # top_p counts in what top_k left; the token that crosses the threshold is kept
    before = kept.cumsum(-1) - kept
    kept = torch.where(before < top_p[:, None] * kept.sum(-1, keepdim=True), kept, 0.0)
    return torch.zeros_like(probs).scatter_(-1, index, kept)


def sample(
    logits: torch.Tensor, params: list[SamplingParams], positions: np.ndarray, valid_vocab: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per row.

    Args:
        logits: (rows, vocab).
        params: of each row.
        positions: (rows,), index of the drawn token in the whole sequence.
        valid_vocab: ids from here on are padding of the vocabulary and never drawn.

    Returns:
        token ids (rows,), and their log-probs (rows,) under the softmax of all logits over the temperature
        (temperature 1 where tokens are taken greedily): what verl's actor computes, thus before top_k, top_p and the
        mask of padded ids.
    """
    logits = logits.float()
    device = logits.device
    temperature = torch.tensor([p.temperature or 1.0 for p in params], device=device)
    log_probs = torch.log_softmax(logits / temperature[:, None], dim=-1)
    probs = log_probs.double().exp()
    if valid_vocab < logits.shape[-1]:
        probs[:, valid_vocab:] = 0.0
    cut = [i for i, p in enumerate(params) if p.temperature and (p.top_k > 0 or p.top_p < 1.0)]
    if cut:
        vocab = logits.shape[-1]
        top_k = torch.tensor([params[i].top_k if params[i].top_k > 0 else vocab for i in cut], device=device)
        top_p = torch.tensor([params[i].top_p for i in cut], device=device, dtype=torch.float64)
        probs[cut] = _keep_likely(probs[cut], top_k, top_p)
    cumulative = probs.cumsum(-1)
    drawn = uniforms(np.array([p.seed for p in params], dtype=np.uint64), positions.astype(np.uint64))
    target = torch.from_numpy(drawn).to(device)[:, None] * cumulative[:, -1:]
    # right=True: the first token whose cumulative probability exceeds the number, never one of probability 0
    tokens = torch.searchsorted(cumulative, target, right=True)[:, 0].clamp_(max=valid_vocab - 1)
    greedy = [i for i, p in enumerate(params) if p.temperature == 0.0]
    if greedy:
        tokens[greedy] = logits[greedy, :valid_vocab].argmax(-1)
    return tokens, log_probs.gather(-1, tokens[:, None])[:, 0]


def score_prompt(logits: torch.Tensor, prompt: list[int], params: SamplingParams) -> tuple[list, list]:
    """The K most likely tokens after each token of a prompt, over the request's temperature as for replies.

    Args:
        logits: (tokens, vocab).
        prompt: (tokens,) ids.
        params: K is `prompt_logprobs`; 0 scores the token that follows in the prompt.

    Returns:
        (ids, log-probs), (tokens, max(K, 1)) each, in verl's layout
        (verl/workers/rollout/vllm_rollout/utils.py, extract_prompt_logprobs): entry i is about token i + 1, and the
        last entry is 0.
    """
    log_probs = torch.log_softmax(logits[:-1].float() / (params.temperature or 1.0), dim=-1)
    if params.prompt_logprobs:
        values, ids = log_probs.topk(params.prompt_logprobs)
    else:
        ids = torch.tensor(prompt[1:], dtype=torch.int64, device=logits.device)[:, None]
        values = log_probs.gather(-1, ids)
    nothing = [0] * ids.shape[1]
    return [*ids.tolist(), nothing], [*values.tolist(), [0.0] * len(nothing)]
