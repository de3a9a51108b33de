# SPDX-License-Identifier: Apache-2.0
"""`python -m siri_verl.cli`."""

from siri_verl.cli import main

main()
