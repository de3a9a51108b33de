# SPDX-License-Identifier: Apache-2.0
"""What the plugin registers with verl: one small function per part, run in order by :mod:`siri_verl.plugin`.

The functions must be cheap, because they run in every process that imports verl. They register names immediately; what
needs one of verl's heavy modules waits until verl imports it (``wrapt.when_imported``).
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt


def when_imported(module_name: str, action: Callable[[ModuleType], None]) -> None:
    """Run ``action(module)`` right after the module is imported, or immediately if it already is.

    A failure there is reported like one at plugin import, with the name of the action.
    """
    from siri_verl.failures import guarded

    wrapt.register_post_import_hook(
        lambda module: guarded(f"{action.__name__} ({module_name})", lambda: action(module)), module_name
    )


def cpu_platform() -> None:
    """Platform "cpu"."""
    from siri_verl.platform.cpu import register

    register()


def cpu_process_group() -> None:
    """Backend "cpu:gloo" for the process groups of a CPU run."""

    def install(module: ModuleType) -> None:
        from siri_verl.platform.process_group import install as wrap

        wrap(module)

    when_imported("verl.utils.distributed", install)


def cpu_engines() -> None:
    """FSDP2 engines for device cpu."""

    def register_engines(module: ModuleType) -> None:
        importlib.import_module("siri_verl.platform.engine")

    when_imported("verl.workers.engine.fsdp.transformer_impl", register_engines)


def light_rollout() -> None:
    """Rollout "light": the replica by verl's registry, the adapter in verl's private table."""

    def register_replica(module: ModuleType) -> None:
        def load():
            from siri_verl.light.replica import LightReplica

            return LightReplica

        module.RolloutReplicaRegistry.register("light", load)

    def register_adapter(module: ModuleType) -> None:
        module._ROLLOUT_REGISTRY[("light", "async")] = "siri_verl.light.replica.LightServerAdapter"

    when_imported("verl.workers.rollout.replica", register_replica)
    when_imported("verl.workers.rollout.base", register_adapter)


def configuration_resolvers() -> None:
    """``${siri_conf:FILE}``: the path of a file in siri_verl/conf, wherever it is installed.

    ``${siri_at_most:A,B}``: the smaller of two numbers.
    """
    from pathlib import Path

    from omegaconf import OmegaConf

    folder = Path(__file__).parent / "conf"
    OmegaConf.register_new_resolver("siri_conf", lambda name: str(folder / name), replace=True)
    OmegaConf.register_new_resolver("siri_at_most", lambda *numbers: min(numbers), replace=True)


def runtime_env_hook() -> None:
    """`py_executable: siri_verl.forked_workers` in Ray's runtime environment; a hook of the user's own stays."""
    os.environ.setdefault("RAY_RUNTIME_ENV_HOOK", "siri_verl.forked_workers.client.runtime_env_hook")


def siri_trainer() -> None:
    """Trainer mode "siri"."""

    def register_trainer(module: ModuleType) -> None:
        importlib.import_module("siri_verl.training.trainer")

    # trainer_sync defines the class the trainer derives from; importing it earlier would load the engines in every
    # process.
    when_imported("verl.trainer.ppo.v1.trainer_sync", register_trainer)


def check_before_start(trainer: type) -> None:
    """Settings of GiGPO are checked before one of verl's V1 trainers starts."""
    start = trainer.__init__

    @functools.wraps(start)
    def check_and_start(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        from siri_verl.training.preflight.algorithm import check_one_flag

        check_one_flag(config)
        start(self, config, *args, **kwargs)

    trainer.__init__ = check_and_start  # type: ignore[method-assign]


def advantage_estimators() -> None:
    """Estimator "gigpo", and estimators over rows that are turns."""

    def register_gigpo(module: ModuleType) -> None:
        from siri_verl.training.estimator import gigpo_estimator

        module.register_adv_est("gigpo")(gigpo_estimator)

    def wrap_multi_trajectories(module: ModuleType) -> None:
        from siri_verl.training.estimator import metrics_of_tokens, over_turns

        correction = "compute_rollout_correction_and_add_to_batch"
        setattr(module, correction, metrics_of_tokens(getattr(module, correction)))
        name = "compute_advantage_for_multi_trajectories"
        setattr(module, name, over_turns(getattr(module, name)))
        check_before_start(module.PPOTrainer)

    when_imported("verl.trainer.ppo.core_algos", register_gigpo)
    when_imported("verl.trainer.ppo.v1.trainer_base", wrap_multi_trajectories)


def screen_logger() -> None:
    """Logger "siri": one line per training step."""

    def register_logger(module: ModuleType) -> None:
        from siri_verl.training.screen_logger import add_logger

        add_logger(module.Tracking)

    when_imported("verl.utils.tracking", register_logger)


def command_line_messages() -> None:
    """A misspelt setting is named; in the driver, a wrong setting and an interrupt end the run without a traceback."""

    def explain_unknown_settings(module: ModuleType) -> None:
        from siri_verl.settings.overrides import install

        install(module)

    def watch_driver(module: ModuleType) -> None:
        from siri_verl.training import driver

        if driver.is_driver():
            driver.install(module)

    when_imported("hydra._internal.config_loader_impl", explain_unknown_settings)
    when_imported("verl.utils.config", watch_driver)


def queue_threads() -> None:
    """TransferQueue asks for 8 threads per copy and logs a warning each time where the machine has fewer cores; it then
    takes the number of cores. Asking for that number gives the same threads without the warnings.

    Ray's workers inherit the variable from the driver.
    """
    import os

    import psutil

    cores = psutil.cpu_count(logical=False)
    if cores is not None and cores < 8:
        os.environ.setdefault("TQ_NUM_THREADS", str(cores))


def environment_agent_loop() -> None:
    """Agent loop "siri_env"."""

    def register_loop(module: ModuleType) -> None:
        module._agent_loop_registry["siri_env"] = {"_target_": "siri_verl.rollout.agent_loop.EnvAgentLoop"}

    when_imported("verl.experimental.agent_loop.agent_loop", register_loop)


REGISTRATIONS: list[Callable[[], None]] = [
    cpu_platform,
    cpu_process_group,
    cpu_engines,
    light_rollout,
    configuration_resolvers,
    runtime_env_hook,
    siri_trainer,
    advantage_estimators,
    screen_logger,
    command_line_messages,
    queue_threads,
    environment_agent_loop,
]
