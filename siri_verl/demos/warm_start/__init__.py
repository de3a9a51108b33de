# SPDX-License-Identifier: Apache-2.0
"""What the demos share: a tiny model with a word-level tokenizer, rows, verl's SFT trainer on them, and a player."""
