# SPDX-License-Identifier: Apache-2.0
"""Reading the settings from a run's configuration, with errors that name field, value and fix.

The `siri:` block and `algorithm.gigpo` become the dataclasses of siri_verl/settings/schema.py by OmegaConf's structured
configs, so an unknown key or a wrong type fails with its full name before anything heavy starts.
"""

from __future__ import annotations

import difflib
from dataclasses import fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from siri_verl.core.gigpo import GigpoSettings
from siri_verl.failures import ConfigError, check
from siri_verl.settings.groups import check_groups
from siri_verl.settings.schema import SiriSettings


def _typed(schema: type, given: DictConfig | dict | None, where: str) -> Any:
    """`given` as an instance of `schema`.

    Raises:
        ConfigError: see `_explain`.
    """
    given = {} if given is None else given
    try:
        # Resolved where it stands, since values may refer to the rest of the run's config.
        plain = OmegaConf.to_container(given, resolve=True) if OmegaConf.is_config(given) else given
        _check_blocks(schema, plain, where)
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain))
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, given, where)) from error


def _check_blocks(schema: Any, given: Any, where: str) -> None:
    """Blocks are mappings; OmegaConf's own message for one that is not leaves out which."""
    names = ", ".join(f.name for f in fields(schema)) if is_dataclass(schema) else "name=value pairs"
    check(isinstance(given, dict), where, given, f"expected a block with {names}")
    if not is_dataclass(schema):
        return
    for name, kind in get_type_hints(schema).items():
        if (is_dataclass(kind) or get_origin(kind) is dict) and given.get(name) is not None:
            _check_blocks(kind, given[name], f"{where}.{name}")


def _explain(error: OmegaConfBaseException, given: Any, where: str) -> str:
    """What OmegaConf objects to: the field's full name, its value, what it should be."""
    key, text = (error.full_key or "").removeprefix(f"{where}."), str(error).splitlines()[0]
    name = f"{where}.{key}" if key else where
    if isinstance(error, ConfigKeyError) and is_dataclass(error.object_type):
        known = [f.name for f in fields(error.object_type)]
        close = difflib.get_close_matches(str(error.key), known, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        return (
            f"{name}: no such setting; {hint}{name.rpartition('.')[0]} has {', '.join(known)} (docs/configuration.md)"
        )
    if isinstance(error, MissingMandatoryValue):
        return f"{name}=???: has no default; give it a value, for example on the command line{_advice(given, key)}"
    value = OmegaConf.to_container(OmegaConf.create(given), resolve=False)
    for part in key.split(".") if key else ():
        value = value.get(part) if isinstance(value, dict) else None
    return f"{name}={value!r}: {text} (docs/configuration.md describes it)"


def _advice(siri: Any, key: str) -> str:
    """What a required setting of a registered environment is, for `environment.kwargs.<setting>`."""
    from siri_verl.envs.registry import get_environment, known_environments

    block, _, setting = key.rpartition(".")
    if block != "environment.kwargs" or (name := siri["environment"].get("name")) not in known_environments():
        return ""
    advice = get_environment(name).required.get(setting)
    return f" ({advice})" if advice else ""


def siri_settings(config: DictConfig) -> SiriSettings:
    """The `siri:` block of a run's config.

    Raises:
        ConfigError: an unknown field, a wrong type or a value out of range, by name; or groups in a wrong order.
    """
    if config.get("siri") is None:
        raise ConfigError("siri: the block is missing; add it with `+siri=webshop` or `+siri=base` on the command line")
    check_groups(config.get("siri_groups"))
    return _typed(SiriSettings, config.siri, "siri")


def gigpo_settings(algorithm: DictConfig | dict | None) -> GigpoSettings:
    """The settings under `algorithm.gigpo`; defaults where the block is absent.

    Raises:
        ConfigError: an unknown field, a wrong type or a value out of range, by name.
    """
    given = None if algorithm is None else algorithm.get("gigpo")
    return _typed(GigpoSettings, given, "algorithm.gigpo")
