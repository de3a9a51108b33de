# SPDX-License-Identifier: Apache-2.0
"""Plays generated games with a model, without a trainer.

python -m siri_verl.demos.alfworld.evaluate --model DIR --games DIR [--split valid_seen] [--samples 2]
"""

from __future__ import annotations

import argparse

from siri_verl.demos.alfworld.demo import DEMO
from siri_verl.demos.alfworld.settings import demo_env
from siri_verl.demos.warm_start.evaluate import add_arguments, report


def main() -> None:
    """Print start levels, the effect of skills and the quality of descriptions."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--games", required=True, help="folder of `siri-verl data alfworld-demo --rooms small`")
    parser.add_argument("--split", default="valid_seen")
    args = parser.parse_args()
    task_ids = demo_env(args.games, args.split).task_ids()
    report(args, DEMO, lambda: demo_env(args.games), task_ids)


if __name__ == "__main__":
    main()
