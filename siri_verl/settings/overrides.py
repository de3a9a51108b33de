# SPDX-License-Identifier: Apache-2.0
"""A misspelt setting on the command line is named with the most similar one, in place of Hydra's message.

Hydra (hydra/_internal/config_loader_impl.py) reports an unknown key as a missing `+`, which adds a setting that nothing
reads.
"""

from __future__ import annotations

import difflib
import functools
from types import ModuleType
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

LISTED = 20
"""Blocks with more settings than this are not listed."""


def explain(key: str, given: str, config: DictConfig) -> str:
    """The message for a setting that the configuration does not have.

    Args:
        key: dotted name.
        given: the override as it was written.
        config: the composed configuration.
    """
    block: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts):
        names = [str(name) for name in block]
        if part not in names:
            break
        block = block._get_node(part)
    close = difflib.get_close_matches(part, names, 1)
    where = ".".join(parts[:depth])
    if not names:  # Hydra has put an empty block where the value was
        return f"{given}: {where} is no block of settings"
    hint = f"did you mean {'.'.join([*parts[:depth], close[0]])}? " if close else ""
    listed = f"{where or 'the configuration'} has {', '.join(names)}; " if len(names) <= LISTED else ""
    return f"{given}: no such setting; {hint}{listed}+{given} would add one"


def install(module: ModuleType) -> None:
    """Wrap the function of Hydra's loader that applies the command line."""
    from hydra.errors import ConfigCompositionException

    loader = module.ConfigLoaderImpl
    apply = loader._apply_overrides_to_config

    @functools.wraps(apply)
    def apply_overrides(overrides: list[Any], cfg: DictConfig) -> None:
        try:
            apply(overrides, cfg)
        except ConfigCompositionException as error:
            text = str(error)
            unknown = next((o for o in overrides if text.startswith(f"Could not override '{o.key_or_group}'.")), None)
            if unknown is None or not isinstance(error.__cause__, OmegaConfBaseException):
                raise
            message = explain(unknown.key_or_group, unknown.input_line, cfg)
            raise ConfigCompositionException(message) from None

    loader._apply_overrides_to_config = staticmethod(apply_overrides)
