"""Rows of JSON lines and CSV files: each exactly as it is in the file, or an error that names the line."""

import csv
import io
import json
import os
import tracemalloc
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from msgflow.data import read_rows
from msgflow.errors import DataError


@pytest.fixture
def file(tmp_path):
    """Writes a file and gives its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "A.JSONL"])
def test_each_line_of_json_is_a_row_and_empty_lines_are_none(file, name):
    path = file(name, '{"q": "a", "n": [1, null]}\n\n  \r\n"text"\r\n[1, 2]\n3.5')
    assert list(read_rows(path)) == [{"q": "a", "n": [1, None]}, "text", [1, 2], 3.5]
    assert list(read_rows(str(path))) == list(read_rows(path))


def test_the_rows_of_a_csv_file_are_dicts_by_the_names_in_its_first_row(file):
    path = file("a.csv", 'question,answer\r\n"Two, or ""three""?",3\n\nlines,"one\ntwo"\n')
    assert list(read_rows(path)) == [
        {"question": 'Two, or "three"?', "answer": "3"},
        {"question": "lines", "answer": "one\ntwo"},
    ]


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", '\ufeff{"é": "\u2028"}\n'), ("a.csv", "\ufeffé\n\u2028\n")])
def test_a_byte_order_mark_is_dropped_and_only_a_line_feed_ends_a_line(file, name, content):
    assert list(read_rows(file(name, content))) == [{"é": "\u2028"}]


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("a.jsonl", "\n"), ("a.csv", "question,answer\n")])
def test_a_file_without_rows_has_none(file, name, content):
    assert list(read_rows(file(name, content))) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
any_file = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_file
@given(rows=st.lists(JSON))
def test_what_json_writes_is_read_back(file, rows):
    text = "\n".join(json.dumps(row) for row in rows)
    assert list(read_rows(file("a.jsonl", text))) == rows


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@any_file
@given(names=st.lists(CELL, min_size=2, max_size=4, unique=True), data=st.data())
def test_what_csv_writes_is_read_back(file, names, data):
    rows = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELL)), max_size=5))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    # Without a byte order mark of our own, one in the data would be taken for it.
    assert list(read_rows(file("a.csv", "\ufeff" + text.getvalue()))) == rows


def test_a_large_file_is_read_while_the_rows_are_taken(file):
    path = file("a.jsonl", b'{"question": "What is it?"}\n' * 60_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(read_rows(path), 30_000)) == 30_000
        assert tracemalloc.get_traced_memory()[1] < 500_000  # bytes; the file has 1.7 million
    finally:
        tracemalloc.stop()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": 1}\nnot json\n', "line 2: no JSON value (Expecting value"),
        ('{\n"a": 1}\n', "line 1: no JSON value"),
        ('{"a": 1}{"a": 2}\n', "line 1: no JSON value (Extra data"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "line 1: no JSON value (the key 'c' is there twice)"),
        ("[" * 200_000, "line 1: nested too deep"),
        ("9" * 5000, "line 1: no JSON value (Exceeds the limit"),
        (b'"a"\n"\xff"\n', "line 2: no UTF-8 text (byte 1 of the line)"),
        ('"a"'.encode("utf-16"), "line 1: no UTF-8 text"),
        ('"a"\n'.encode("utf-16-le"), "line 1: a NUL character"),
    ],
)
def test_a_line_that_is_no_json_is_refused_with_its_number(file, content, reason):
    assert f"FILE, {reason}" in refusal(file("a.jsonl", content))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,b\n1,2\n1\n", "line 3: 1 fields for the 2 columns a, b"),
        ('a,b\n"1\n1",2\n1,2,3\n', "line 4: 3 fields for the 2 columns a, b"),
        ("a,b,a\n1,2,3\n", "line 1: two columns are named 'a'"),
        (",a\n0,1\n", "line 1: column 1 has no name"),
        ("a;b\n1;2\n", "line 1: the columns are separated by ';'"),
        ("a\tb\n1\t2\n", "line 1: the columns are separated by '\\t'"),
        ('a,b\n1,2\n"1,2\n3,4\n', "line 3: no CSV (unexpected end of data)"),
        ('a,b\n"1"2,3\n', "line 2: no CSV (',' expected after '\"')"),
        ("a,b\rc,d\r", "line 1: no CSV (new-line character"),
        ("a,b\n1,\0\n", "line 2: a NUL character"),
        (b"a,b\n1,\xff\n", "line 2: no UTF-8 text (byte 2 of the line)"),
        ("a,b\n1," + "x" * 200_000 + "\n", "line 2: no CSV (field larger than field limit (131072)); write it as JSON"),
        ("", " is empty; its first row names the columns"),
    ],
)
def test_a_row_that_does_not_fit_its_header_is_refused_with_the_number_of_its_line(file, content, reason):
    assert reason in refusal(file("a.csv", content))


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(file, monkeypatch):
    monkeypatch.setattr("msgflow.data.rows.LONGEST_LINE", 2**20)
    assert "FILE, line 2: the line is longer than 1 MiB" in refusal(file("a.jsonl", b"1\n" + b" " * 2**21))


def test_a_path_that_names_no_file_of_rows_says_what_does(tmp_path):
    with pytest.raises(DataError, match=r"its suffix is \.json, and known are \.jsonl, \.ndjson, \.csv"):
        read_rows(tmp_path / "rows.json")
    with pytest.raises(DataError, match="its suffix is missing"):
        read_rows("What is the capital of France?")


def test_a_file_that_is_missing_or_is_none_is_refused_and_never_waited_for(tmp_path):
    assert "cannot be read (No such file" in refusal(tmp_path / "gone.jsonl")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name in ("folder.csv", "pipe.jsonl"):
        with pytest.raises(DataError, match="is no regular file"):
            read_rows(tmp_path / name)
