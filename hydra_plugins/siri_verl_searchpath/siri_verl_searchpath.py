# SPDX-License-Identifier: Apache-2.0
"""Makes ``+siri=<preset>`` work with verl's entry points without ``--config-dir``."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SiriVerlSearchPath(SearchPathPlugin):
    """Appends siri_verl's configuration folder: names of verl's own win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="siri_verl", path="pkg://siri_verl.conf")
