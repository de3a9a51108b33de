# SPDX-License-Identifier: Apache-2.0
"""One place where siri_verl depends on verl's internals, and the check of it."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Seam:
    """One place.

    Attributes:
        target: `module:attribute.path` in verl.
        parameters: names the callable takes, in order; None when it is not a callable or its parameters do not matter.
        used_by: our file.
        advice: what to change when it differs.
        source: lines that its source must hold, where our code rests on what it does and not only on what it takes.
    """

    target: str
    parameters: tuple[str, ...] | None
    used_by: str
    advice: str
    source: tuple[str, ...] = ()


def resolve(target: str) -> Any:
    """The object `module:attribute.path` names."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found


def problem(seam: Seam) -> str | None:
    """None where verl is as expected; else a sentence that states the difference and what to change."""
    try:
        found = resolve(seam.target)
    except (ImportError, AttributeError) as error:
        return f"{seam.target} is gone ({error}); in {seam.used_by}: {seam.advice}"
    what_to_do = f"in {seam.used_by}: {seam.advice}"
    if seam.parameters is not None:
        names = tuple(inspect.signature(found).parameters)
        if names != seam.parameters:
            return f"{seam.target} takes ({', '.join(names)}), expected ({', '.join(seam.parameters)}); {what_to_do}"
    if seam.source:
        text = inspect.getsource(inspect.unwrap(found) if callable(found) else found)
        for line in seam.source:
            if line not in text:
                return f"{seam.target} no longer contains `{line}`; {what_to_do}"
    return None
