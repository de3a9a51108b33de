# SPDX-License-Identifier: Apache-2.0
"""Records of a large array, one by one: the values of Python's json, and broken records refused early."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siri_verl.envs.webshop import DataError, records
from siri_verl.envs.webshop.records import iterate_array, read_object

texts = st.text(st.characters(), max_size=6)  # surrogates included
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.just(10**40), st.floats(), texts)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


@pytest.fixture
def write(tmp_path):
    def written(text):
        path = tmp_path / "x.json"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def read_in_chunks(path, size):
    whole, records._CHUNK = records._CHUNK, size
    try:
        return list(iterate_array(path, "a list"))
    finally:
        records._CHUNK = whole


def parsed(text):
    """What Python's json says: numbered records, or None for what is no array."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return list(enumerate(value)) if isinstance(value, list) else None


@given(st.lists(values, max_size=6), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 20))
def test_streamed_arrays_equal_parsed_ones(tmp_path_factory, content, indent, escaped, size):
    path = tmp_path_factory.mktemp("json") / "x.json"
    try:
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=escaped), encoding="utf-8")
    except UnicodeEncodeError:
        path.write_text(json.dumps(content), encoding="utf-8")
    assert repr(read_in_chunks(path, size)) == repr(parsed(path.read_text(encoding="utf-8")))  # nan != nan


@given(st.text('[]{},:"\\ \n01.-eEuaNtrue', max_size=25), st.integers(1, 30))
def test_what_is_valid_is_what_python_says(tmp_path_factory, inner, size):
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(f"[{inner}]", encoding="utf-8")
    wanted = parsed(f"[{inner}]")
    if wanted is None:
        with pytest.raises(DataError, match="record"):
            read_in_chunks(path, size)
    else:
        assert repr(read_in_chunks(path, size)) == repr(wanted)


def test_values_that_python_takes(write):
    path = write('[NaN, Infinity, 123456789012345678901234567890, "\\ud83d", "\\ud83d\\ude00"]')
    nan, *others = (value for _, value in iterate_array(path, "a list"))
    assert math.isnan(nan) and others == [math.inf, 123456789012345678901234567890, "\ud83d", "\U0001f600"]


@pytest.mark.parametrize("first", ['{"asin" "B0"}', '{"asin": "B0"]', '{"asin": "B0}', "[[[", '"'])
def test_a_broken_record_is_refused_without_reading_the_whole_file(write, monkeypatch, first):
    """A missing colon, a wrong bracket, a missing quote, brackets that stay open."""
    monkeypatch.setattr(records, "_CHUNK", 1000)
    monkeypatch.setattr(records, "MAX_RECORD", 10_000)
    path = write("[" + first + ', {"asin": "B1", "name": "word"}' * 10_000 + "]")
    reached = []
    with pytest.raises(DataError, match="record 0: not valid JSON"):
        list(iterate_array(path, "a list", reached.append))
    assert max(reached) <= 12_000 < path.stat().st_size


@pytest.mark.parametrize("text", ['[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]", "[" + "9" * 100_000 + "]"])
def test_what_python_cannot_parse_is_a_data_error(write, text):
    """Nested too deeply; a number too long to convert."""
    with pytest.raises(DataError, match="record 0: not valid JSON"):
        list(iterate_array(write(text), "a list"))
    with pytest.raises(DataError, match="not valid JSON"):
        read_object(write(text), "an object")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.json").write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(DataError, match="record 0: not UTF-8 text"):
        list(iterate_array(tmp_path / "x.json", "a list"))
