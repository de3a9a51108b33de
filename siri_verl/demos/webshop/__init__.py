# SPDX-License-Identifier: Apache-2.0
"""A self-made WebShop catalogue and all that makes a very small model able to act in it (see `docs/results.md`)."""
