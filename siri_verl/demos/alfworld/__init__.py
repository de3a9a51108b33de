# SPDX-License-Identifier: Apache-2.0
"""Self-made ALFWorld games and all that makes a very small model able to play them (see `docs/environments.md`)."""
