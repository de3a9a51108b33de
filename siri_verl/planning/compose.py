# SPDX-License-Identifier: Apache-2.0
"""Compose verl's configuration the way `python -m verl.trainer.main_ppo` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig


class ComposeError(ValueError):
    """Hydra refused an override; the message is its own, on one line."""


def compose_run(overrides: Sequence[str]) -> DictConfig:
    """verl's PPO configuration with these overrides.

    Raises:
        ComposeError: an unknown key or group, or an override that cannot be read.
    """
    import verl  # noqa: F401  its plugins register the resolvers
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException

    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            return compose("ppo_trainer", overrides=list(overrides))
    except HydraException as error:
        raise ComposeError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    """What Hydra objects to, without its search path; for an unknown group of ours, which there are."""
    name = str(getattr(error, "missing_cfg_file", None) or "")
    if name.startswith("siri/"):
        known = sorted(path.stem for path in (Path(__file__).parents[1] / "conf" / "siri").glob("*.yaml"))
        return f"+siri=[{name.removeprefix('siri/')}]: no such group; there are {', '.join(known)}"
    texts = [str(error)]
    if error.__cause__ is not None and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))
    # After a blank line follows Hydra's search path.
    heads = [text.split("\n\n", 1)[0] for text in texts]
    return "; ".join(line.strip() for head in heads for line in head.splitlines() if line.strip())
