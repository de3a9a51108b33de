# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``verl.plugins``: imported by verl in every one of its processes.

verl resolves the entry point, never calls it, and swallows its exceptions at DEBUG level. So the import of this
module is the registration, and every failure is logged at ERROR, kept in :data:`FAILURES` (``siri-verl doctor`` shows
it and exits non-zero) and raised again by :func:`require`, which siri components call before they start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger("siri_verl")

SUPPORTED = (">=0.9.1", "<0.10")
"""The versions of verl whose internals this plugin knows."""


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


def check_verl_version() -> None:
    """Refuse a verl whose seams are unknown.

    Raises:
        RuntimeError: the installed verl lies outside :data:`SUPPORTED`.
    """
    from importlib.metadata import version

    from packaging.specifiers import SpecifierSet

    installed = version("verl")
    if not SpecifierSet(",".join(SUPPORTED)).contains(installed, prereleases=True):
        raise RuntimeError(
            f"verl {installed} is installed, siri_verl supports verl{','.join(SUPPORTED)}: "
            f"pip install 'verl{','.join(SUPPORTED)}', or a siri_verl made for {installed}"
        )


def load() -> None:
    """Register everything, once per process; nothing is registered with an unsupported verl."""
    guarded("verl version", check_verl_version)
    if FAILURES:
        return
    from siri_verl.registration import REGISTRATIONS

    for registration in REGISTRATIONS:
        guarded(registration.__name__, registration)


load()
