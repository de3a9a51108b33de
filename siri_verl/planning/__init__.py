# SPDX-License-Identifier: Apache-2.0
"""What a run will need, before it starts: memory per GPU, host memory, tokens, rows, environment steps."""
