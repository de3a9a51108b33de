# SPDX-License-Identifier: Apache-2.0
"""What is raised when a setting is wrong, and what is kept when a registration fails.

verl swallows the exceptions of its plugins. A failed registration is therefore logged at ERROR, kept in
:data:`FAILURES` (``siri-verl doctor`` shows it) and raised again by :func:`require`, which components call first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("siri_verl")


class ConfigError(ValueError):
    """A setting is wrong. The message names the field, the value and the fix."""


def check(ok: bool, name: str, value: Any, fix: str) -> None:
    """Raise ConfigError with the field, its value and the fix unless `ok`."""
    if not ok:
        raise ConfigError(f"{name}={value!r}: {fix}")


def check_one_of(name: str, value: str, options: Sequence[str]) -> None:
    """Raise ConfigError unless the value is one of the options."""
    check(value in options, name, value, f"use one of {', '.join(options)}")


def check_field(settings: Any, name: str, ok: bool, fix: str) -> None:
    """`check` of one field of a settings dataclass; `name` is the field's full name, its last part the attribute."""
    check(ok, name, getattr(settings, name.rpartition(".")[2]), fix)


@dataclass(frozen=True)
class Failure:
    """A registration that did not work: its name and the exception."""

    name: str
    error: BaseException


FAILURES: list[Failure] = []


class PluginError(RuntimeError):
    """The plugin did not load fully in this process."""


def guarded(name: str, action: Callable[[], None]) -> None:
    """Run one registration; log and keep its failure."""
    try:
        action()
    except Exception as error:
        FAILURES.append(Failure(name, error))
        logger.exception("siri_verl plugin: %s failed: %s", name, type(error).__name__)


def require() -> None:
    """Called by siri components before they start.

    Raises:
        PluginError: a registration failed in this process; names every one.
    """
    if FAILURES:
        reasons = "; ".join(f"{f.name}: {type(f.error).__name__}: {f.error}" for f in FAILURES)
        raise PluginError(f"the siri_verl plugin did not load: {reasons}") from FAILURES[0].error
