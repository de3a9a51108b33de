# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: its files, and the model it holds."""
