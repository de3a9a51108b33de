# SPDX-License-Identifier: Apache-2.0
"""Runs, read from their folders and shown: `siri-verl report | story | curve | skills`, docs/evaluation.md.

reader -> skills, methods -> statistics -> pictures, words, tables -> page
"""
