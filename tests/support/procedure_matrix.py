# SPDX-License-Identifier: Apache-2.0
"""Success of every scripted procedure in every department, through the real environment."""

from __future__ import annotations

import json
import random
from pathlib import Path

from siri_verl.demos.warm_start.rows import play
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.generator import PANELS
from siri_verl.demos.webshop.procedures import PROCEDURES
from siri_verl.demos.webshop.settings import demo_env


def procedure_matrix(catalogue: Path | str, panel: str = "train") -> dict[str, dict[str, float]]:
    """Department -> procedure -> share of the panel's tasks it solves."""
    env = demo_env(catalogue)
    panels = json.loads((Path(catalogue) / PANELS).read_text(encoding="utf-8"))
    rng = random.Random(0)
    return {
        department: {
            name: sum(play(DEMO, env, task_id, name, rng).episode.success for task_id in ids) / len(ids)
            for name in PROCEDURES
        }
        for department, ids in panels[panel].items()
    }
