# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``verl.plugins``: imported by verl in every one of its processes.

verl resolves the entry point, never calls it, and swallows its exceptions at DEBUG level. So importing this module
registers everything. Failures are logged and kept (siri_verl/failures.py); siri components raise them again before
they start.
"""

from __future__ import annotations

from siri_verl import failures

SUPPORTED = (">=0.9.1", "<0.10")
"""The versions of verl whose internals this plugin knows."""


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
    failures.guarded("verl version", check_verl_version)
    if failures.FAILURES:
        return
    from siri_verl.registration import REGISTRATIONS

    for registration in REGISTRATIONS:
        failures.guarded(registration.__name__, registration)


load()
