# SPDX-License-Identifier: Apache-2.0
"""Values that an agent loop states in a row, taken as they are: nothing is converted into another meaning.

`bool("False")` is True and `float("1")` is 1.0, so a value of another type is refused by row, field and value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from siri_verl.rollout.row_contract import ANCHOR, OPTIONAL, OUTCOME, TURN_REWARD, VALID, RowContractError

KINDS: dict[str, type] = {
    ANCHOR: str,
    TURN_REWARD: float,
    VALID: bool,
    "task": str,
    **{name: type(default) for name, default in OPTIONAL.items()},
}
"""Type of every field."""

FIXES = {bool: "give True or False", str: "give text", int: "give a whole number", float: "give a number"}


def stated_value(row: str, field: str, value: Any) -> Any:
    """The value as Python's own type of the field: bool, str, int or float.

    Args:
        row: names the row in errors.
        field: its name.
        value: as the loop states it; numpy's scalars and tensors with one entry are taken as what they hold.

    Raises:
        RowContractError: it is of another type, or a number that is not finite.
    """
    kind = KINDS[field]
    plain = value.item() if not isinstance(value, str) and hasattr(value, "item") and np.size(value) == 1 else value
    if kind is str and isinstance(plain, str):
        return str(plain)
    # The numbers 0 and 1 are what arrays of flags often hold; any other number is a mistake.
    if kind is bool and (isinstance(plain, bool) or (isinstance(plain, Real) and plain in (0, 1))):
        return bool(plain)
    if kind is int and isinstance(plain, Integral) and not isinstance(plain, bool):
        return int(plain)
    if kind is float and isinstance(plain, Real) and math.isfinite(plain):
        return float(plain)
    fix = "give a finite number" if kind is float and isinstance(plain, Real) else FIXES[kind]
    if field == TURN_REWARD:
        fix += f", or {OUTCOME!r} for the reward function's score"
    raise RowContractError(f"row {row}: {field}={value!r}: {fix} (docs/your_agent_loop.md)")


def check_stated(row: str, fields: Mapping[str, Any]) -> None:
    """Check every field of a row that is stated; None stands for a field that is not.

    Raises:
        RowContractError: see `stated_value`.
    """
    for name in KINDS.keys() & fields.keys():
        value = fields[name]
        if value is not None and not (name == TURN_REWARD and isinstance(value, str) and value == OUTCOME):
            stated_value(row, name, value)
