# SPDX-License-Identifier: Apache-2.0
"""Workers of Ray that are forked from a process that has imported what they all import."""
