# SPDX-License-Identifier: Apache-2.0
"""Which environments there are: a name, its gymnasium id, its settings.

A configuration sets `environment: webshop`, or any gymnasium id directly, for example `environment:
my_package:MyShop-v0` (gymnasium imports `my_package` first).
"""

from __future__ import annotations

import inspect
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
        name: its name in configurations and panels.
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


_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
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
    """The specification of a registered name, or a default one for a gymnasium id.

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
        ValueError: a required setting is missing, or one that is true or false has another value.
    """
    spec = get_environment(name)
    settings = {**spec.kwargs, **kwargs}
    for key, advice in spec.required.items():
        if settings.get(key) is None:
            raise ValueError(f"environment {name!r}: setting {key!r} is missing; {advice}")
    settings = _truth_values(spec, settings)
    # Gymnasium's passive checker and order enforcer cost time at every step; check_text_env looks once instead.
    return gymnasium.make(spec.gymnasium_id, disable_env_checker=True, **settings)


def _truth_values(spec: EnvironmentSpec, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with bool for the texts "true", "yes", "false" and "no" where the constructor has a bool; every
    other text would count as true.

    Raises:
        ValueError: such a setting has another value; names it.
    """
    creator = gymnasium.spec(spec.gymnasium_id.rpartition(":")[2]).entry_point
    creator = gymnasium.envs.registration.load_env_creator(creator) if isinstance(creator, str) else creator
    checked = dict(settings)
    if creator is None:  # an environment of vectors alone
        return checked
    for key, parameter in inspect.signature(creator).parameters.items():
        truth = parameter.annotation in (bool, "bool") or isinstance(parameter.default, bool)
        if not truth or isinstance(checked.get(key, False), bool):
            continue
        value = checked[key]
        checked[key] = _TRUTH.get(value.lower()) if isinstance(value, str) else None
        if checked[key] is None:
            raise ValueError(f"environment {spec.name!r}: setting {key}={value!r}: use true or false")
    return checked


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


def list_unsolvable(name: str, **kwargs: Any) -> set[str]:
    """Ids of tasks that an environment knows nobody to solve.

    Raises:
        TypeError: the environment has no `unsolvable_task_ids()` method.
    """
    env = make_environment(name, **kwargs)
    try:
        method = getattr(env.unwrapped, "unsolvable_task_ids", None)
        if method is None:
            raise TypeError(f"environment {name!r} does not know which tasks nobody can solve; leave out --solvable")
        return set(method())
    finally:
        env.close()


def register_gymnasium_ids() -> None:
    """Register the environments of this package with gymnasium and here. Loads none of them; safe to call twice."""
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
