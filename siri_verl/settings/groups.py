# SPDX-License-Identifier: Apache-2.0
"""The order of configuration groups: a group that comes before one that overrides it would be undone without a word.

Each group of conf/siri states itself in `siri_groups`: after which groups, or groups of which kind, it must come, and
its own kind, of which a run has one. Hydra composes groups in the order in which they are given, and OmegaConf keeps
the order of new keys, so the order of this block is the order of the groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from siri_verl.failures import ConfigError


def check_groups(groups: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Check the groups that a configuration was composed of.

    Args:
        groups: the block `siri_groups`: name -> `after` (names or kinds) and `kind`; None in configurations without it.

    Raises:
        ConfigError: a group comes before one that it must come after, or two are of one kind.
    """
    order = list(groups or {})
    of_kind: dict[str, str] = {}
    for place, name in enumerate(order):
        stated = (groups or {})[name]
        coming = {key: other for other in order[place + 1 :] for key in (other, (groups or {})[other].get("kind"))}
        later = [coming[key] for key in stated.get("after", ()) if key in coming]
        if later:
            raise ConfigError(
                f"+siri=[...,{name},...,{later[-1]},...]: {later[-1]} overrides settings of {name}, which must come "
                f"after it; use [...,{later[-1]},...,{name}]"
            )
        kind = stated.get("kind")
        if kind in of_kind:
            raise ConfigError(f"+siri=[...,{of_kind[kind]},...,{name},...]: both set the {kind}; use one of the two")
        if kind:
            of_kind[kind] = name
