# SPDX-License-Identifier: Apache-2.0
"""Which environments there are: a name, its gymnasium id, its settings.

A configuration sets `environment: webshop`, or any gymnasium id directly, for example `environment:
my_package:MyShop-v0` (gymnasium imports `my_package` first).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

TOY_ID = "siri_verl/Toy-v0"
WEBSHOP_ID = "siri_verl/WebShop-v0"
ALFWORLD_ID = "siri_verl/ALFWorld-v0"


class UnknownEnvironmentError(ValueError):
    """The name is neither registered here nor a gymnasium id."""


@dataclass(frozen=True)
class EnvironmentSpec:
    """One environment known by name.

    Attributes:
        name: what configurations and panels say.
        gymnasium_id: what `gymnasium.make` is given.
        kwargs: default settings, overridden by the caller's.
        required: settings without a default, with the advice given when one is missing.
        task_types: `module:NAME` of a mapping of task type -> regular expression over the task text, earlier entries
            first; `siri.task_type.kind` then takes this environment's name. Empty where there is none.
    """

    name: str
    gymnasium_id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    required: Mapping[str, str] = field(default_factory=dict)
    task_types: str = ""


_SPECS: dict[str, EnvironmentSpec] = {}


def register_environment(spec: EnvironmentSpec) -> None:
    """Make an environment known by name.

    Raises:
        ValueError: the name is taken by another specification.
    """
    if _SPECS.get(spec.name, spec) != spec:
        raise ValueError(f"environment {spec.name!r} is already registered as {_SPECS[spec.name].gymnasium_id!r}")
    _SPECS[spec.name] = spec


def known_environments() -> list[str]:
    """Names of the registered environments, sorted."""
    return sorted(_SPECS)


def task_type_patterns() -> dict[str, str]:
    """Name of an environment -> `module:NAME` of its task types, for the registered ones that state them."""
    return {name: spec.task_types for name, spec in sorted(_SPECS.items()) if spec.task_types}


def get_environment(name: str) -> EnvironmentSpec:
    """The specification of a registered name, or one made up for a gymnasium id.

    Raises:
        UnknownEnvironmentError: neither; the message lists the names.
    """
    if name in _SPECS:
        return _SPECS[name]
    try:
        module, _, env_id = name.rpartition(":")
        if module:
            __import__(module)
        gymnasium.spec(env_id)
    except (gymnasium.error.Error, ImportError, ValueError) as error:
        raise UnknownEnvironmentError(
            f"environment: {name!r} is neither a known name ({', '.join(known_environments())}) "
            f"nor a gymnasium id ({error})"
        ) from error
    return EnvironmentSpec(name=name, gymnasium_id=name)


def make_environment(name: str, **kwargs: Any) -> gymnasium.Env:
    """Make an environment by name or gymnasium id.

    Args:
        name: see `get_environment`.
        kwargs: settings of the environment; they override the specification's.

    Raises:
        UnknownEnvironmentError: no such environment.
        UnknownSplitError: `kwargs["split"]` is not one of the environment's; the message lists those it has.
        ValueError: a required setting is missing.
    """
    spec = get_environment(name)
    settings = {**spec.kwargs, **kwargs}
    for key, advice in spec.required.items():
        if settings.get(key) is None:
            raise ValueError(f"environment {name!r}: setting {key!r} is missing; {advice}")
    # Gymnasium's passive checker and order enforcer cost time at every step; check_text_env looks once instead.
    return gymnasium.make(spec.gymnasium_id, disable_env_checker=True, **settings)


def list_task_ids(name: str, **kwargs: Any) -> list[str]:
    """Task ids of an environment in its fixed order.

    Raises:
        TypeError: the environment has no `task_ids()` method.
    """
    env = make_environment(name, **kwargs)
    try:
        method = getattr(env.unwrapped, "task_ids", None)
        if method is None:
            raise TypeError(
                f"environment {name!r} ({type(env.unwrapped).__name__}) has no method task_ids() -> list[str]"
            )
        return [str(task_id) for task_id in method()]
    finally:
        env.close()


def register_gymnasium_ids() -> None:
    """Tell gymnasium and this registry about the environments shipped here. Loads none of them; safe to call twice."""
    entry_points = {
        TOY_ID: "siri_verl.envs.toy:ToyEnv",
        WEBSHOP_ID: "siri_verl.envs.webshop.env:WebShopEnv",
        ALFWORLD_ID: "siri_verl.envs.alfworld.env:ALFWorldEnv",
    }
    for env_id, entry_point in entry_points.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point=entry_point)
    register_environment(EnvironmentSpec("toy", TOY_ID))
    advice = "pass the directory that `siri-verl data webshop` or `siri-verl data webshop-demo` wrote"
    register_environment(
        EnvironmentSpec(
            "webshop",
            WEBSHOP_ID,
            required={"store": advice},
            task_types="siri_verl.envs.webshop.task_types:TASK_TYPE_PATTERNS",
        )
    )
    advice = "pass the folder that `siri-verl data alfworld --download` or `siri-verl data alfworld-demo` wrote"
    register_environment(
        EnvironmentSpec(
            "alfworld",
            ALFWORLD_ID,
            required={"data": advice},
            task_types="siri_verl.envs.alfworld.tasks:TASK_TYPE_PATTERNS",
        )
    )
