# SPDX-License-Identifier: Apache-2.0
"""The driver process of `python -m verl.trainer.main_ppo`: it starts Ray and waits for the run.

A wrong setting of `siri:` ends it before Ray starts; an interrupt prints two lines in place of a traceback. The plugin
imports this module in every process of verl, so its own imports are light.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from siri_verl.failures import ConfigError
from siri_verl.screen import STAGE

ENTRY = "verl.trainer.main_ppo"

_run: list[Path] = []
"""The run's folder, once verl has checked the configuration."""


def is_driver() -> bool:
    """Whether this process was started as verl's command."""
    words = sys.orig_argv
    return "-m" in words and words[words.index("-m") + 1 :][:1] == [ENTRY]


def install(module: ModuleType) -> None:
    """Wrap `validate_config` (verl/utils/config.py), which verl calls in the driver with the whole configuration, and
    replace the hook that prints tracebacks."""
    validate = module.validate_config

    @functools.wraps(validate)
    def check_and_validate(config: Any, *args: Any, **kwargs: Any) -> None:
        check_driver(config)
        validate(config, *args, **kwargs)

    module.validate_config = check_and_validate  # type: ignore[attr-defined]
    sys.excepthook = functools.partial(_report, sys.excepthook)


def check_driver(config: Any) -> None:
    """Note the run's folder; end the process where `siri:` or `algorithm.gigpo` is wrong."""
    from siri_verl.settings.read import gigpo_settings, siri_settings

    _run[:] = [Path(config.trainer.default_local_dir)]
    try:
        if config.get("siri") is not None:
            siri_settings(config)
        gigpo_settings(config.get("algorithm"))
    except ConfigError as error:
        sys.exit(f"error {error}")


def _report(default: Any, kind: type, error: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook`: two lines for an interrupt, unless `siri-verl stage` prints them."""
    if not issubclass(kind, KeyboardInterrupt):
        default(kind, error, trace)
    elif STAGE not in os.environ:
        from siri_verl.runs.stop import stop_lines

        command = shlex.join(["python", *sys.orig_argv[1:]])
        print("\n" + "\n".join(stop_lines(_run[0] if _run else None, command)), file=sys.stderr, flush=True)
