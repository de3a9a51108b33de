# SPDX-License-Identifier: Apache-2.0
"""Acceptance of a machine (recipes/gpu_acceptance.sh): numbers on a device against the host's, memory against the plan,
speed against the device's limits."""
