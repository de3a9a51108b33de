# SPDX-License-Identifier: Apache-2.0
"""The groups of published methods, by how they work."""

from siri_verl.core.teacher_methods import METHODS
from siri_verl.settings.reference import method_groups

TOKEN_TEACHERS = sorted(set(METHODS) & set(method_groups()))
"""Their internalization is the settings of siri_verl/core/teacher_methods.py."""
LIFE_CYCLES = ["bayesian_agent", "evolving", "sage", "skill0", "slim"]
"""They differ in which skills are written, shown or kept."""
FAMILY = sorted([*TOKEN_TEACHERS, *LIFE_CYCLES])
