# Copyright 2026 The siri_verl Authors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""The `siri-verl` command: one module per family of commands, each a few lines over the module that does the work."""

# each adds its commands
from siri_verl.cli import alfworld, alfworld_demo, check, data, docs, evaluate, plan, report, runs, skills  # noqa: F401
from siri_verl.cli.common import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point."""
    app()
