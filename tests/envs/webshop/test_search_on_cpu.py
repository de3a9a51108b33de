# SPDX-License-Identifier: Apache-2.0
"""Search ranks like Lucene."""

import bz2
import gzip
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siri_verl.envs.webshop.search import Index, IndexBuilder, analyze, tokenize
from siri_verl.envs.webshop.search.index import rounded_length
from siri_verl.envs.webshop.search.porter import stem

FIXTURES = Path(__file__).parent / "fixtures"


def build(documents, folder):
    """Index (id, text) pairs; returns the index and the ids in its order."""
    builder = IndexBuilder()
    for _, text in documents:
        builder.add(text)
    ids = [doc_id for doc_id, _ in documents]
    order = np.array(sorted(range(len(ids)), key=ids.__getitem__))
    builder.write(folder, order)
    return Index(folder), [ids[i] for i in order]


def share_of_equal_pages(index, ids, queries, key):
    same = [[ids[i] for i in index.search(query["query"])][:10] == query[key][:10] for query in queries]
    return sum(same) / len(same)


def test_page_one_is_lucenes_on_the_committed_collection(tmp_path):
    lines = bz2.decompress((FIXTURES / "lucene_docs.tsv.bz2").read_bytes()).decode().split("\n")
    index, ids = build([line.split("\t", 1) for line in lines], tmp_path)
    queries = json.loads((FIXTURES / "lucene_page1.json").read_text())
    assert len(queries) >= 100 and len(ids) == 5000
    assert share_of_equal_pages(index, ids, queries, "ids") >= 0.99


def test_page_one_is_lucenes_on_all_recorded_synthetic_queries(lucene_rankings, tmp_path):
    with gzip.open(lucene_rankings / "synthetic_5k_docs.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    index, ids = build([(row["id"], row["contents"]) for row in rows], tmp_path)
    queries = json.loads((lucene_rankings / "synthetic_5k_queries.json").read_text())
    assert share_of_equal_pages(index, ids, queries, "ids") >= 0.99


def test_page_one_is_lucenes_on_the_real_catalogue(lucene_rankings, real_catalog):
    queries = json.loads((lucene_rankings / "webshop_1k.json").read_text())
    pages = [(real_catalog.search(query["query"])[:10], query["asins"][:10]) for query in queries]
    assert sum(ours == lucenes for ours, lucenes in pages) >= 0.99 * len(pages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop", ["don't", "stop"]),
        ("3.5mm x 1,000.5 o'neil a.b a.5 5.a", ["3.5mm", "x", "1,000.5", "o'neil", "a.b", "a", "5", "5", "a"]),
        ("usb:c 5:30 a;b 5;6", ["usb:c", "5", "30", "a", "b", "5;6"]),
        ("x_y _ __z_ a_.b", ["x_y", "__z_", "a_", "b"]),
        ('t-shirt 12" (pack of 2)', ["t", "shirt", "12", "pack", "of", "2"]),
        ("l'été usb：c", ["l'été", "usb：c"]),
        ("a★b ♡ ☞☞ ❤️ ✿ ®™", ["a", "★", "b", "♡", "☞", "☞", "❤️", "®", "™"]),
        ("👍🏽 ❤️‍🔥 👨‍👩‍👧 🇺🇸🇬🇧 1️⃣", ["👍🏽", "❤️‍🔥", "👨‍👩‍👧", "🇺🇸", "🇬🇧", "1️⃣"]),
        ("食品 カタカナ 한국어 สวัสดี", ["食", "品", "カタカナ", "한국어", "สวัสดี"]),
        ("x" * 300, ["x" * 255, "x" * 45]),
        ("", []),
    ],
)
def test_words_follow_uax29(text, words):
    assert tokenize(text) == words


@given(st.text("ab1_2.,':;- A", max_size=30))
def test_ascii_and_unicode_patterns_cut_alike(text):
    # the accented word sends the text through the Unicode pattern
    assert tokenize(text + " é") == [*tokenize(text), "é"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("feed", "feed"), ("agreed", "agre"),
        ("plastered", "plaster"), ("motoring", "motor"), ("sing", "sing"), ("hopping", "hop"), ("falling", "fall"),
        ("filing", "file"), ("happy", "happi"), ("sky", "sky"), ("relational", "relat"), ("conditional", "condit"),
        ("digitizer", "digit"), ("radically", "radic"), ("vietnamization", "vietnam"), ("hopefulness", "hope"),
        ("triplicate", "triplic"), ("electrical", "electr"), ("revival", "reviv"), ("adjustment", "adjust"),
        ("adoption", "adopt"), ("probate", "probat"), ("rate", "rate"), ("controll", "control"), ("roll", "roll"),
        ("technology", "technolog"), ("assembly", "assembl"), ("possibly", "possibl"), ("is", "is"), ("3.5mm", "3.5mm"),
    ],
)  # fmt: skip
def test_porter(word, expected):
    assert stem(word) == expected


def test_analysis_drops_stop_words_and_possessives():
    assert analyze("The women's Dresses, and the men’s SHIRTS") == ["women", "dress", "men", "shirt"]


@given(st.integers(0, 100_000))
def test_lengths_keep_four_significant_bits(length):
    rounded = rounded_length(length)
    assert rounded <= length and rounded_length(rounded) == rounded
    assert length - rounded <= max(0, length - 24) / 8
    assert rounded == length or length >= 24 + 16


words = st.lists(st.sampled_from(["red", "blue", "shoe", "hat", "lamp", "wood", "oak"]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(documents=st.lists(words, min_size=1, max_size=12), query=words, k=st.integers(1, 15))
def test_scores_and_order_match_a_plain_bm25(documents, query, k, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    builder = IndexBuilder()
    for document in documents:
        builder.add(" ".join(document))
    builder.write(folder)
    index = Index(folder)
    n, average = len(documents), sum(map(len, documents)) / len(documents) or 1.0
    expected = []
    for document in documents:
        score = 0.0
        for term, count in Counter(query).items():
            frequency, tf = sum(term in other for other in documents), document.count(term)
            if tf:
                idf = math.log(1 + (n - frequency + 0.5) / (frequency + 0.5))
                score += count * idf * tf / (tf + 0.9 * (0.6 + 0.4 * len(document) / average))
        expected.append(score)
    scores = index.scores(" ".join(query))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    ranked = sorted((i for i in range(n) if scores[i] > 0), key=lambda i: (-scores[i], i))
    assert index.search(" ".join(query), k).tolist() == ranked[:k]


def test_no_hits_and_bad_k(tmp_path):
    index, _ = build([("a", "red shoe"), ("b", "")], tmp_path)
    assert index.search("the and of").tolist() == [] == index.search("zebra").tolist()
    with pytest.raises(ValueError, match="k=0"):
        index.search("red", 0)
