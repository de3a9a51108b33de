# SPDX-License-Identifier: Apache-2.0
"""Plays the demo shop's tasks with a model, without a trainer.

python -m siri_verl.demos.webshop.evaluate --model DIR --catalogue DIR [--panel development] [--samples 2]
"""

from __future__ import annotations

import argparse

from siri_verl.demos.warm_start.evaluate import add_arguments, report
from siri_verl.demos.webshop.demo import DEMO
from siri_verl.demos.webshop.settings import demo_env

SPLITS = {"warm_start": ("demo_warm_start", "train"), "train": ("demo", "train"), "test": ("demo", "test")}


def main() -> None:
    """Print start levels, the effect of skills and the quality of descriptions."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--catalogue", required=True)
    parser.add_argument("--panel", default="development")
    args = parser.parse_args()
    name, part = SPLITS.get(args.panel, ("demo", "validation"))
    task_ids = demo_env(args.catalogue).catalog.split(name).part(part)
    report(args, DEMO, lambda: demo_env(args.catalogue), task_ids)


if __name__ == "__main__":
    main()
