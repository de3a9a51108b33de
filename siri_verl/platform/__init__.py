# SPDX-License-Identifier: Apache-2.0
"""verl on a machine without an accelerator."""

# verl comes first: it loads the plugin, which imports modules of this package, and would otherwise find them half
# imported by whoever imports one of them before verl.
import verl  # noqa: F401
