# SPDX-License-Identifier: Apache-2.0
"""Parts that a setting names: a member of a table, or a function of the user's by its path `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from siri_verl.failures import check

T = TypeVar("T")


def check_name_or_path(field: str, value: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
    """Check that a value is a known name, or has the form of a path. Nothing is imported.

    Raises:
        ConfigError: it is neither.
    """
    module, colon, name = value.partition(":")
    is_path = bool(colon) and all(part.isidentifier() for part in [*module.split("."), name])
    fix = f"use {', '.join(known)}, or a path package.module:function"
    check(value in known or is_path, field, value, fix)


def named(field: str, value: str, known: Mapping[str, T]) -> T:
    """The member of the table, or the function that the path names.

    Args:
        field: full name of the setting, for errors.
        value: its value.
        known: name -> part.

    Raises:
        ConfigError: there is no such name, module or function.
    """
    check_name_or_path(field, value, known)
    if value in known:
        return known[value]
    module, _, name = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        check(False, field, value, f"cannot be imported ({error}); put its folder on PYTHONPATH in every process")
    check(callable(found), field, value, f"is a {type(found).__name__}, not a function")
    return found  # type: ignore[no-any-return]
