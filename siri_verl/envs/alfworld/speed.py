# SPDX-License-Identifier: Apache-2.0
"""The speed layer over an installed textworld: `fast_textworld()` for the life of the process, or

    with fast_textworld():
        env = PddlEnv(); ...

Nothing on disk is changed. What an agent reads (observations, admissible commands, wins) is what stock textworld gives,
and `tests/envs/alfworld/test_traces_on_cpu.py` compares it. What is replaced: the parsing of templates and deriving of
texts (`templates`, `grammar`), the translation of PDDL (`translation`), the initial state (`fast_state`), the gathering
of commands (`commands`), the copies of the planner's library (`planner`, `planner_library`).
"""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any

KNOWN_VERSIONS = {"textworld": ("1.7.0",), "fast-downward-textworld": ("20.6.4",)}
"""Versions whose insides the layer was written for and compared with."""

_lock = threading.RLock()
_users = 0
_originals: list[tuple[Any, str, Any]] = []


class TextworldVersionError(RuntimeError):
    """The installed textworld, or its planner, is another than the speed layer knows."""


def check_versions() -> None:
    """Raise TextworldVersionError unless the installed packages are known ones."""
    for package, known in KNOWN_VERSIONS.items():
        try:
            installed = version(package)
        except PackageNotFoundError as error:
            raise TextworldVersionError(f"{package} is not installed; `pip install 'siri_verl[alfworld]'`") from error
        if installed not in known:
            raise TextworldVersionError(
                f"{package} {installed} is installed; the speed layer knows {', '.join(known)}. Install "
                f"`{package}=={known[-1]}`, or play without the layer (fast=false)"
            )


class Layer:
    """What `fast_textworld()` returns: the layer stays on for the process unless this is used as a context, which takes
    it away at its end. Nested uses count."""

    def __enter__(self) -> Layer:
        return self

    def __exit__(self, *exception: object) -> None:
        global _users
        with _lock:
            _users -= 1
            if _users == 0:
                for where, name, value in reversed(_originals):
                    setattr(where, name, value)
                _originals.clear()


def fast_textworld() -> Layer:
    """Put the speed layer on. Environments made before and after share it; make and load games while it is on.

    Raises:
        TextworldVersionError: another version of textworld or of its planner is installed; nothing was changed.
    """
    global _users
    check_versions()
    with _lock:
        _users += 1
        if _users == 1:
            for where, name, value in _replacements():
                _originals.append((where, name, where.__dict__[name]))
                setattr(where, name, value)
    return Layer()


def _replacements() -> list[tuple[Any, str, Any]]:
    import fast_downward
    from textworld.envs.pddl import PddlEnv, textgen
    from textworld.envs.pddl import logic as pddl_logic

    from siri_verl.envs.alfworld import commands, fast_state, grammar, templates, translation
    from siri_verl.envs.alfworld.planner import LazyLibrary

    stock_gather = PddlEnv._gather_infos

    def gather_infos(env: Any) -> None:
        # An episode that began before the layer was installed continues without it.
        (commands.gather_infos if isinstance(env._pddl_state, fast_state.FastState) else stock_gather)(env)

    def derive(rules: Any, start: str, context: dict[str, Any]) -> str:
        return templates.derive(rules, start, commands.context_of(context))

    return [
        (textgen.ContextSensitiveGrammar, "derive", derive),
        (pddl_logic, "GameLogic", grammar.game_logic),
        (pddl_logic, "PddlState", fast_state.FastState),
        (fast_downward, "pddl2sas", translation.pddl2sas),
        (fast_downward, "load_lib", LazyLibrary),
        (PddlEnv, "_gather_infos", gather_infos),
    ]
