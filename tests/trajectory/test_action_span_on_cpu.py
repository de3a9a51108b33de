# SPDX-License-Identifier: Apache-2.0
"""The action's tokens in a reply, against the raw bytes and against the words a reply is made of."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_model import SPECIAL_TOKENS, make_tokenizer

from siri_verl.demos.webshop.model import build_tokenizer
from siri_verl.envs.replies import parse_reply
from siri_verl.trajectory.action_span import action_span

BYTES, WORDS = make_tokenizer(), build_tokenizer()
OPEN, CLOSE = b"<action>", b"</action>"


@pytest.fixture(scope="module")
def merging():
    """A byte-level BPE whose merges run over the tags' edges, as those of real models do."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    replies = [f"<think>the {w} é</think><action>go {w}</action>." for w in ("hall", "attic", "cellar", "garden")]
    bpe.train_from_iterator(replies * 5, vocab_size=320, min_frequency=1)
    bpe.pre_tokenizer = None
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer)


PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
OTHERS = [b for b in range(256) if b not in PRINTABLE]
# The byte-level alphabet: printable bytes stand for themselves, the others are moved up from 256 on.
BYTE_OF = {chr(b): b for b in PRINTABLE} | {chr(256 + k): b for k, b in enumerate(OTHERS)}


def bytes_of(ids):
    """(bytes of the reply without special tokens, index of each byte's token)."""
    index = [i for i, token in enumerate(ids) if token >= len(SPECIAL_TOKENS)]
    return bytes(BYTE_OF[BYTES.convert_ids_to_tokens(int(ids[i]))] for i in index), index


tokens = st.lists(st.integers(0, len(BYTES) - 1), max_size=30)
texts = st.text(alphabet="ab <>/é€😀\n", max_size=20)


@settings(max_examples=200, deadline=None)
@given(before=tokens, thought=texts, content=texts, after=tokens, inside=st.booleans())
def test_bytes_the_span_starts_and_ends_at_the_tags_bytes(before, thought, content, after, inside):
    middle = BYTES.encode(f"{thought}<action>{content}</action>", add_special_tokens=False)
    if inside:  # a special token between two bytes of the tag: decoding leaves it out
        middle.insert(len(middle) - 4, BYTES.pad_token_id)
    ids = before + middle + after
    raw, index = bytes_of(ids)
    first = raw.find(OPEN)
    end = raw.find(CLOSE, first) + len(CLOSE)
    assert action_span(BYTES, ids) == (index[first], index[end - 1] + 1)


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, len(BYTES) - 1), max_size=60))
def test_bytes_without_tags_no_span(ids):
    raw, _ = bytes_of(ids)
    assert OPEN not in raw  # 8 bytes by chance: never
    assert action_span(BYTES, ids) == (0, 0)


def test_the_bytes_of_the_oracle_are_the_reply():
    text = "a\n é€😀 <action>x</action>"
    assert bytes_of(BYTES.encode(text))[0].decode() == text


WORD = st.sampled_from([w for w in WORDS.get_vocab() if w.isalnum() or w in "[]-:.,->"])


@settings(max_examples=200, deadline=None)
@given(thought=st.lists(WORD, max_size=8), content=st.lists(WORD, min_size=1, max_size=8), after=st.lists(WORD))
def test_words_the_span_is_from_tag_to_tag(thought, content, after):
    ids = WORDS.convert_tokens_to_ids(["<think>", *thought, "</think>", "<action>", *content, "</action>", *after])
    ids.append(WORDS.eos_token_id)
    start, end = action_span(WORDS, ids)
    assert (start, end) == (len(thought) + 2, len(thought) + 4 + len(content))
    # what is learned is what was carried out
    whole = parse_reply(WORDS.decode(ids, skip_special_tokens=True))
    assert parse_reply("<think></think>" + WORDS.decode(ids[start:end])).action == whole.action


def test_only_the_first_action_counts():
    text = "<think>a</think><action>go hall</action><action>go attic</action>"
    start, end = action_span(BYTES, BYTES.encode(text))
    assert BYTES.decode(BYTES.encode(text)[start:end]) == "<action>go hall</action>"


@settings(max_examples=100, deadline=None)
@given(thought=texts, content=st.sampled_from(["go hall", "go é", "attic.", ""]), after=texts)
def test_merged_tokens_the_span_is_the_least_that_holds_the_action(merging, thought, content, after):
    action = f"<action>{content}</action>"
    ids = merging.encode(f"<think>{thought}</think>{action}{after}", add_special_tokens=False)
    text = merging.decode(ids)
    first = text.index("<action>")
    wanted = text[first : text.index("</action>", first) + len("</action>")]
    start, end = action_span(merging, ids)
    assert wanted in merging.decode(ids[start:end])
    assert wanted not in merging.decode(ids[start + 1 : end])
    assert wanted not in merging.decode(ids[start : end - 1])


def test_merged_tokens_run_over_the_tags_edges(merging):
    ids = merging.encode("<think>the hall é</think><action>go hall</action>.", add_special_tokens=False)
    start, end = action_span(merging, ids)
    pieces = merging.convert_ids_to_tokens(ids)
    assert pieces[start] != "<action>" and "<" in pieces[start]  # the case the test above is about does occur
    assert end <= len(ids)
