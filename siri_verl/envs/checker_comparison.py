# SPDX-License-Identifier: Apache-2.0
"""What of an environment's answers must repeat under a seed, and where two answers differ."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium

from siri_verl.envs.base import REQUIRED_INFO_KEYS


@contextlib.contextmanager
def required_keys(env: gymnasium.Env) -> Iterator[None]:
    """Hide other keys of `info` from Gymnasium's checker, which wants all of them to repeat under a seed."""

    def filtered(method: Callable[..., tuple]) -> Callable[..., tuple]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> tuple:
            answer = method(*args, **kwargs)
            if isinstance(answer, tuple) and answer and isinstance(answer[-1], dict):
                info = {key: value for key, value in answer[-1].items() if key in REQUIRED_INFO_KEYS}
                return (*answer[:-1], info)
            return answer

        return call

    env.reset, env.step = filtered(env.reset), filtered(env.step)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del env.reset, env.step


def compared(observation: Any, info: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What must repeat under a seed. Other keys of `info` may hold anything, for example the time."""
    text = observation if isinstance(observation, str) else type(observation).__name__
    return {"observation": text, **more, **{key: info[key] for key in REQUIRED_INFO_KEYS}}


def difference(a: dict[str, Any], b: dict[str, Any]) -> str:
    """Where two answers differ: the first such field, with its text around the first differing character."""
    field = next(name for name in a if a[name] != b[name])
    one, other = str(a[field]), str(b[field])
    pairs = zip(one, other, strict=False)
    start = max(0, next((k for k, (x, y) in enumerate(pairs) if x != y), min(len(one), len(other))) - 20)
    return f"{field} {one[start : start + 60]!r} against {other[start : start + 60]!r}"
