# SPDX-License-Identifier: Apache-2.0
"""The `siri-verl` command: one module per family of commands; each calls the module with the implementation."""

# each adds its commands
from siri_verl.cli import alfworld, alfworld_demo, check, data, docs, evaluate, plan, report, runs, skills, stage, watch  # noqa: F401
from siri_verl.cli.common import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point."""
    app()
