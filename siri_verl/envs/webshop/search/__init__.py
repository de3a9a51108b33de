# SPDX-License-Identifier: Apache-2.0
"""Lexical search that ranks like Lucene's BM25 with its English analyzer, without Java."""

from siri_verl.envs.webshop.search.analyzer import analyze, tokenize
from siri_verl.envs.webshop.search.index import Index, IndexBuilder

__all__ = ["Index", "IndexBuilder", "analyze", "tokenize"]
