# SPDX-License-Identifier: Apache-2.0
"""What is checked before any worker starts, so that a wrong setting costs seconds and no accelerator time."""

from __future__ import annotations

from omegaconf import DictConfig

from siri_verl.envs.registry import UnknownEnvironmentError, get_environment
from siri_verl.failures import ConfigError, require
from siri_verl.settings.schema import SiriSettings
from siri_verl.training.dataset_tasks import dataset_tasks
from siri_verl.training.preflight.limits import check_epochs, check_row_fits_update
from siri_verl.training.preflight.model import check_attention
from siri_verl.training.preflight.nodes import check_nodes, nodes_alive
from siri_verl.training.preflight.panels import check_enough_tasks, check_manager, check_panels
from siri_verl.training.preflight.prompts import check_first_prompts
from siri_verl.training.preflight.resumed import check_resumed
from siri_verl.training.preflight.settings import check_settings
from siri_verl.training.preflight.skills import check_skill_inputs
from siri_verl.training.preflight.start import check_resume_path


def preflight(config: DictConfig, settings: SiriSettings) -> None:
    """Check all that a run needs: settings first, then files, environment and the run's folder.

    Args:
        config: verl's configuration.
        settings: its `siri:` block.

    Raises:
        PluginError: the plugin did not load fully, for example with an unsupported verl.
        ConfigError: the field, its value and what to do.
    """
    require()
    check_settings(config, settings)
    check_row_fits_update(config)
    check_resume_path(config)
    check_attention(config)
    check_skill_inputs(settings)
    check_tasks(config, settings)
    check_resumed(config)


def check_tasks(config: DictConfig, settings: SiriSettings) -> None:
    """The tasks can be read and played: those of a dataset with its own agent loop, or panels of an environment."""
    if settings.tasks == "dataset":
        tasks = len(dataset_tasks(config).train)
        check_enough_tasks(config, tasks)
        check_epochs(config, settings, tasks)
        check_manager(config, f"siri.tasks={settings.tasks!r}")
        return
    check_environment_name(settings)
    check_nodes(config, settings, nodes_alive())
    panels = check_panels(config, settings.environment.name)
    check_first_prompts(config, settings, panels)
    check_epochs(config, settings, len(panels["data.train_files"].task_ids))


def check_environment_name(settings: SiriSettings) -> None:
    """The environment is registered, or a Gymnasium id."""
    try:
        get_environment(settings.environment.name)
    except UnknownEnvironmentError as error:
        raise ConfigError(
            f"siri.environment.name={settings.environment.name!r}: {error}; use one of these names, or the id of an "
            "installed environment as `module:Name-v0`"
        ) from error
