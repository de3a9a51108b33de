# SPDX-License-Identifier: Apache-2.0
"""Versions of installed packages. Imports nothing heavy: the plugin uses it in every process."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
