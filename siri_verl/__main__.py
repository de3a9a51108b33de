# SPDX-License-Identifier: Apache-2.0
"""`python -m siri_verl`: the command `siri-verl`."""

from siri_verl.cli import main

main()
