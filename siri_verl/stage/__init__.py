# SPDX-License-Identifier: Apache-2.0
"""Runs one command of a recipe: all its output goes to a log, its progress to the screen."""
