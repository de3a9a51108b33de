# SPDX-License-Identifier: Apache-2.0
"""A BM25 index that scores in the arithmetic of Lucene's BM25Similarity and lives in memory-mapped arrays.

    score(q, d) = sum over distinct terms t of q of  w - w / (1 + tf * n_d),
    w = (count of t in q) * ln(1 + (N - df + 0.5) / (df + 0.5)),   n_d = 1 / (k1 * (1 - b + b * len_d / avg_len))

all in float32, added up in double precision and rounded to float32 at the end; `len_d` is the document's length
rounded to what Lucene's one byte per document holds. Ties go to the smaller document id, so documents are numbered in
the order of their ids.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from pathlib import Path

import numpy as np

from siri_verl.envs.webshop.search.analyzer import analyze, normalize, tokenize

K1 = np.float32(0.9)
B = np.float32(0.4)


def rounded_length(length: int) -> int:
    """A document length after Lucene's one-byte encoding: exact below 24, else four significant bits."""
    if length < 24:
        return length
    excess = length - 24
    drop = max(0, excess.bit_length() - 4)
    return 24 + (excess >> drop << drop)


class IndexBuilder:
    """Collects documents in any order and writes an index."""

    def __init__(self) -> None:
        self._term_of_word: dict[str, int] = {}
        self._terms: dict[str, int] = {}
        self._tokens = array("i")
        self._lengths = array("i")

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """Index one document's text."""
        known, tokens = self._term_of_word, self._tokens
        before = len(tokens)
        for word in tokenize(text):
            term_id = known.get(word)
            if term_id is None:
                term = normalize(word)
                term_id = -1 if term is None else self._terms.setdefault(term, len(self._terms))
                known[word] = term_id
            if term_id >= 0:
                tokens.append(term_id)
        self._lengths.append(len(tokens) - before)

    def write(self, folder: Path, order: np.ndarray | None = None) -> None:
        """Write the arrays into `folder`.

        Args:
            folder: an existing directory.
            order: (documents,) integers: the document added as `order[i]` gets number i, which breaks ties. Default:
                as added.
        """
        from scipy.sparse import csr_matrix

        n_docs, n_terms = len(self._lengths), len(self._terms)
        lengths = np.frombuffer(self._lengths, dtype=np.int32) if n_docs else np.zeros(0, np.int32)
        tokens = np.frombuffer(self._tokens, dtype=np.int32) if len(self._tokens) else np.zeros(0, np.int32)
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        by_doc = csr_matrix((np.ones(len(tokens), np.float32), tokens.copy(), starts), shape=(n_docs, n_terms))
        by_doc.sum_duplicates()
        if order is not None:
            by_doc, lengths = by_doc[order], lengths[order]
        by_term = by_doc.tocsc()  # a counting sort: postings by term, documents ascending within
        del by_doc, tokens

        average = np.float32(int(lengths.sum(dtype=np.int64)) / n_docs) if n_docs and lengths.any() else np.float32(1)
        sizes, which = np.unique(lengths, return_inverse=True)
        rounded = np.array([rounded_length(int(size)) for size in sizes], dtype=np.float32)
        norms = np.float32(1) / (K1 * ((np.float32(1) - B) + B * rounded / average))
        # 1 + tf * n_d does not depend on the query: kept instead of tf
        denominators = np.float32(1) + by_term.data.astype(np.float32) * norms[which][by_term.indices]

        vocabulary = sorted((term.encode(), term_id) for term, term_id in self._terms.items())
        term_ids = np.array([term_id for _, term_id in vocabulary], dtype=np.int64)
        ends = np.cumsum([len(term) for term, _ in vocabulary], dtype=np.int64)
        pointers = by_term.indptr.astype(np.int64)
        arrays = {
            "postings": by_term.indices.astype(np.int32),
            "denominators": denominators,
            "posting_starts": pointers[:-1][term_ids] if n_terms else np.zeros(0, np.int64),
            "posting_counts": np.diff(pointers)[term_ids] if n_terms else np.zeros(0, np.int64),
            "term_starts": np.concatenate([[0], ends]).astype(np.int64),
            "term_bytes": np.frombuffer(b"".join(term for term, _ in vocabulary), dtype=np.uint8),
            "n_documents": np.array([n_docs], dtype=np.int64),
        }
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)


class _Vocabulary:
    """Sorted terms in one byte string, readable by `bisect` without loading them."""

    def __init__(self, text: np.ndarray, starts: np.ndarray) -> None:
        self._text, self._starts = text.data, starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, i: int) -> bytes:
        return bytes(self._text[self._starts[i] : self._starts[i + 1]])

    def find(self, term: str) -> int | None:
        wanted = term.encode()
        i = bisect_left(self, wanted)  # type: ignore[type-var]
        return i if i < len(self) and self[i] == wanted else None


class Index:
    """A written index, opened by memory map: processes that open the same folder share its pages."""

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)

        def load(name: str) -> np.ndarray:
            # the plain array view of a memory map: slicing np.memmap itself costs several microseconds
            return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r"))

        self._postings, self._denominators = load("postings"), load("denominators")
        self._starts, self._counts = load("posting_starts"), load("posting_counts")
        self._vocabulary = _Vocabulary(load("term_bytes"), load("term_starts"))
        self.n_documents = int(load("n_documents")[0])
        """How many documents."""

    def scores(self, query: str) -> np.ndarray:
        """(documents,) float32 BM25 scores; 0 where no query term occurs."""
        total = np.zeros(self.n_documents, dtype=np.float64)
        for term, count in Counter(analyze(query)).items():
            number = self._vocabulary.find(term)
            if number is None:
                continue
            start, frequency = int(self._starts[number]), int(self._counts[number])
            idf = np.float32(math.log(1 + (self.n_documents - frequency + 0.5) / (frequency + 0.5)))
            weight = np.float32(count) * idf
            stop = start + frequency
            total[self._postings[start:stop]] += weight - weight / self._denominators[start:stop]
        return total.astype(np.float32)

    def search(self, query: str, k: int = 50) -> np.ndarray:
        """The numbers of the at most `k` best documents, best first; only documents with a query term are hits.

        Raises:
            ValueError: `k` is not positive.
        """
        if k < 1:
            raise ValueError(f"k={k}: ask for at least one hit.")
        scores = self.scores(query)
        hits = np.flatnonzero(scores)
        if len(hits) > k:
            values = scores[hits]
            kth = np.partition(values, len(values) - k)[len(values) - k]
            hits = hits[values >= kth]  # every tie at the border, so that ids decide
        return hits[np.argsort(-scores[hits], kind="stable")][:k]
