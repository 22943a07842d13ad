"""States as JSON: how they are written, and refusals that name the key."""

import json
import math

import pytest

import msgflow.state as state
from msgflow.errors import StateFileError


def test_the_file_is_one_object_in_the_order_of_the_state_with_readable_text(tmp_path):
    state.save({"b.x": "\u00e9\u4e2d", "a": [1]}, tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text("utf-8") == '{\n  "b.x": "\u00e9\u4e2d",\n  "a": [\n    1\n  ]\n}\n'


def test_a_lone_surrogate_is_escaped_and_comes_back(tmp_path):
    saved = {"a\udc80": "\u00e9\ud800 \\ud800 \udfff", "\ud800": 1}
    state.save(saved, tmp_path / "s.json")
    assert state.load(tmp_path / "s.json") == saved
    assert "\u00e9" in (tmp_path / "s.json").read_text("utf-8")


@pytest.mark.parametrize("saved", [{"k": "\ud83d\ude00"}, {"k": {"\ud83d\ude00": 1}}, {"ok": 1, "k\ud83d\ude00": 1}])
def test_a_pair_of_surrogates_that_would_become_one_character_is_refused(tmp_path, saved):
    with pytest.raises(StateFileError, match=r"'k.*surrogate"):
        state.save(saved, tmp_path / "s.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities_are_refused_with_their_place(tmp_path, value):
    with pytest.raises(StateFileError, match=r"'a\.b'\['x'\]\[1\]"):
        state.save({"a.b": {"x": [1, value]}}, tmp_path / "s.json")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_nan_and_infinities_in_a_file_are_refused_with_their_key(tmp_path, text):
    (tmp_path / "s.json").write_text(f'{{"a": 1, "b.c": {text}}}')
    with pytest.raises(StateFileError, match=r"s\.json: 'b\.c'"):
        state.load(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1,\n "b": }', "line 2, column 7"),
        ('{"a": "cut off', "line 1, column 7"),
        ("[1, 2]", "holds a list"),
        ("null", "holds a NoneType"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' is there twice"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deep"),
        ('{"a": ' + "1" * 5000 + "}", "number cannot be read"),
    ],
)
def test_a_file_that_is_no_state_is_refused_with_path_and_place(tmp_path, text, says):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(StateFileError, match=says) as caught:
        state.load(tmp_path / "s.json")
    assert "s.json" in str(caught.value)


def test_a_damaged_file_can_be_written_over(tmp_path):
    (tmp_path / "s.json").write_bytes(b"\xff")
    state.save({"a": 1}, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == {"a": 1}
