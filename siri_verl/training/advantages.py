# SPDX-License-Identifier: Apache-2.0
"""GiGPO advantages of a batch's turns, for verl's estimator and for the weights of internalized turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from siri_verl.core.gigpo import GigpoAdvantages, GigpoSettings, gigpo
from siri_verl.core.pairing import advantage_groups
from siri_verl.core.turns import read_turns
from siri_verl.failures import ConfigError
from siri_verl.settings.read import gigpo_settings

if TYPE_CHECKING:
    from siri_verl.training.step_table import StepTable
    from siri_verl.training.turn_table import TurnTable

WEIGHING_ESTIMATORS = ("gigpo", "grpo")
"""Values of `algorithm.adv_estimator` whose advantages can weight internalized turns."""


def table_advantages(table: StepTable, settings: GigpoSettings) -> GigpoAdvantages:
    """GiGPO advantages of a table's rows; 0 on padding rows and on rows of trajectories that lost their environment."""
    group = advantage_groups(table.group.tolist(), table.arm.tolist(), settings.arms)
    columns = (table.trajectory, table.turn, table.anchor, table.reward, table.valid)
    return gigpo(read_turns(group, *columns, padding=~table.usable), settings)


def token_advantages(table: StepTable | TurnTable, settings: GigpoSettings, length: int) -> np.ndarray:
    """The same for a batch whose rows are turns or whole trajectories.

    Returns:
        (rows, 1) where every row is a turn, else (rows, length): each turn's advantage on its own tokens.
    """
    from siri_verl.training.turn_table import TurnTable

    if isinstance(table, TurnTable):
        return table.token_values(table_advantages(table.table, settings).total, length)
    return table_advantages(table, settings).total[:, None]


@dataclass(frozen=True)
class BatchAdvantages:
    """GiGPO advantages and the rows and settings they were computed with."""

    table: StepTable
    settings: GigpoSettings
    result: GigpoAdvantages

    @classmethod
    def compute(cls, table: StepTable, settings: GigpoSettings) -> BatchAdvantages:
        """`table_advantages`, kept together with its inputs."""
        return cls(table, settings, table_advantages(table, settings))

    def of_rows(self, keys: Sequence[str]) -> np.ndarray:
        """(keys,) A of the rows with these keys; 0 for rows that are not in the table."""
        total = dict(zip(self.table.keys, self.result.total.tolist(), strict=True))
        return np.array([total.get(key, 0.0) for key in keys])


def weighing_settings(algorithm: Any) -> GigpoSettings:
    """The settings of the advantages that weight internalized turns.

    They are the estimator's own, with statistics over both arms whatever `algorithm.gigpo.arms` is: compared with its
    own arm alone, a skill that always works would weigh nothing. GRPO is GiGPO without its step term, with statistics
    over trajectories and without a penalty.

    Args:
        algorithm: verl's `algorithm` block.

    Raises:
        ConfigError: the estimator is neither gigpo nor grpo.
    """
    name = algorithm.adv_estimator
    if name == "gigpo":
        return replace(gigpo_settings(algorithm), arms="joint")
    if name == "grpo":
        norm = "mean_std" if algorithm.get("norm_adv_by_std_in_grpo", True) else "mean"
        return GigpoSettings(norm=norm, step_weight=0.0, episode_stats="per_trajectory", invalid_penalty=0.0)
    raise ConfigError(
        f"algorithm.adv_estimator={name!r}: internalization weights turns by the advantages of gigpo or grpo; use one "
        "of them, or leave internalization out with siri.phases.skip=[internalization]"
    )
