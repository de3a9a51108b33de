# SPDX-License-Identifier: Apache-2.0
"""Text environments.

Importing this package registers the gymnasium ids; an environment's own code loads when it is made.
"""

from siri_verl.envs.registry import register_gymnasium_ids

register_gymnasium_ids()
