"""Message: JSON that comes back or is refused, and input that is made to break it."""

import enum
import gc
import json
import math
import time
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow as mf
from msgflow._message.tree import MAX_DEPTH, ReadOnlyDict, ReadOnlyList
from msgflow.errors import MessageError, MessageFrozen, MessageKeyError

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
names = st.text(min_size=1).filter(lambda name: "." not in name)
# Characters that UTF-8 does not have, alone and in pairs.
surrogates = st.text(st.sampled_from(["\ud83d", "\ude00", "a", "\\"]))


@given(st.dictionaries(names, values))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_json_gives_an_equal_message_back(data):
    text = mf.Message(data).to_json()
    again = mf.Message.from_json(text)
    assert again == data and again.to_json() == text and json.loads(text) == data
    assert mf.Message.from_json(text.encode(), frozen=True).frozen


@given(surrogates, surrogates)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_lone_surrogates_come_back_and_pairs_are_refused(key, value):
    message = mf.Message(text={key: value})
    if "\ud83d\ude00" in key or "\ud83d\ude00" in value:
        with pytest.raises(MessageError, match="which JSON does not give back"):
            message.to_json()
    else:
        assert mf.Message.from_json(message.to_json().encode()) == message


class Level(enum.IntEnum):
    HIGH = 3


def test_numbers_and_texts_of_other_types_are_written_as_what_they_equal():
    message = mf.Message(level=Level.HIGH, number=np.float64(0.5), huge=10**4000)
    assert mf.Message.from_json(message.to_json()) == message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "'x.0.deep' is of type tuple, which JSON does not give back as it was"),
        (math.nan, "'x.0.deep' is nan"),
        (-math.inf, "'x.0.deep' is -inf"),
        ({1: "a"}, "'x.0.deep' has the key 1 of type int"),
        ({"y": [object()]}, "'x.0.deep.y.0' is of type object"),
        (b"bytes", "'x.0.deep' is of type bytes"),
        (10**5000, "'x.0.deep' is an int of more than 4300 digits"),
        (-(10**5000), "'x.0.deep' is an int of more than 4300 digits"),
    ],
    ids=lambda case: case if isinstance(case, str) else type(case).__name__,
)
def test_what_json_would_lose_is_refused_by_its_path(value, text):
    with pytest.raises(MessageError) as caught:
        mf.Message(x=[{"deep": value}]).to_json()
    assert str(caught.value).startswith(text) and text.startswith(repr(caught.value.key))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON at line 1, column 1: Expecting value"),
        ('{"a": 1,\n "b": }', "no JSON at line 2, column 7"),
        ("[1]", "the JSON is a list; a Message is an object"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' is there twice"),
        ('{"a": NaN}', "the JSON holds NaN, which is no finite number"),
        ('{"a": [-Infinity]}', "the JSON holds -Infinity"),
        ('{"a": 1e999}', "the JSON holds 1e999"),
        ('{"a": ' + "9" * 5000 + "}", "the JSON cannot be read: .*4300"),
        (b'{"a": "\xff"}', "the JSON cannot be read: .*utf-8"),
        ('{"": 1}', "'' is no path"),
        ('{"a.": 1}', "'a.' is no path"),
        ('{"a": 1, "a.b": 2}', r"'a\.b' cannot be changed: 'a' is of type int"),
        ('{"a":' * 150 + "1" + "}" * 150, "at most 100 levels deep"),
        ('{"a":' * 100_000, "at most 100 levels deep"),
        ("[" * 100_000, "at most 100 levels deep"),
    ],
)
def test_json_that_makes_no_message_is_refused_with_the_reason(text, problem):
    with pytest.raises(MessageError, match=problem):
        mf.Message.from_json(text)


def test_a_dotted_name_at_the_top_of_json_is_a_path():
    assert mf.Message.from_json('{"http.method": "GET", "http.status": 200}')["http"] == {
        "method": "GET",
        "status": 200,
    }


# --- paths -----------------------------------------------------------------------------------------------------------

ASKING = {
    "read": lambda message, key: message[key],
    "get": lambda message, key: message.get(key),
    "in": lambda message, key: key in message,
    "set": lambda message, key: message.__setitem__(key, 1),
    "delete": lambda message, key: message.__delitem__(key),
    "update": lambda message, key: message.update({key: 1}),
    "pop": lambda message, key: message.pop(key, None),
    "setdefault": lambda message, key: message.setdefault(key, 1),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("key", ["", ".", "a..b", ".a", "a.", "a." * 60])
def test_a_path_with_nothing_between_its_dots_is_refused_everywhere(ask, key):
    message = mf.Message(a={"b": 1})
    with pytest.raises(MessageError, match="is no path: there is nothing between two dots") as caught:
        ask(message, key)
    assert caught.value.key == key and message == {"a": {"b": 1}}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
@pytest.mark.parametrize("key", [1, None, b"a", ("a", "b")])
def test_a_path_is_text(ask, key):
    message = mf.Message(a={"b": 1})
    with pytest.raises(TypeError, match="a path in a Message is text such as"):
        ask(message, key)
    assert message == {"a": {"b": 1}}


@pytest.mark.parametrize(
    "index",
    ["2", "-3", "\u0661", "\u00b2", "1_0", "+1", " 1", "00", "0x1", "-", "--1", "9" * 100_000, "-" + "9" * 5000],
)
def test_what_is_no_index_of_a_list_finds_nothing_in_it(index):
    message = mf.Message(items=[1, 2])
    assert f"items.{index}" not in message
    with pytest.raises(MessageError):
        message[f"items.{index}"] = 1
    assert message == {"items": [1, 2]}


def test_a_decimal_part_is_a_name_in_a_dict_and_an_index_in_a_list():
    message = mf.Message({"dict.0": "name", "list": ["first", "last"]})
    assert (message["dict.0"], message["list.0"], message["list.-1"]) == ("name", "first", "last")
    message["list.-1"] = "new"
    del message["list.0"]
    assert message["dict"] == {"0": "name"} and message["list"] == ["new"]


def test_nothing_goes_through_none():
    message = mf.Message(a=None)
    with pytest.raises(MessageError, match="'a' is of type NoneType"):
        message["a.b"] = 1
    assert message.get("a.b") is None and message == {"a": None}


def test_a_path_of_100_000_parts_is_answered_at_once():
    message, key = mf.Message(a={"a": 1}), ".".join(["a"] * 100_000)
    start = time.monotonic()
    assert key not in message and message.get(key, 5) == 5
    with pytest.raises(MessageKeyError, match=r"'a\.a' is of type int"):
        message[key]
    for change in (lambda: message.__setitem__(key, 1), lambda: message.update({key: 1})):
        with pytest.raises(MessageError, match="at most 100 levels deep") as caught:
            change()
        assert len(str(caught.value)) < 300
    assert message == {"a": {"a": 1}} and time.monotonic() - start < 2


def test_an_update_that_fails_half_way_changes_nothing():
    message = mf.Message(text="hi", n=1)
    with pytest.raises(MessageError):
        message.update({"n": 2, "new.x": 1, "text.x": 1})
    assert message == {"text": "hi", "n": 1} and list(message) == ["text", "n"]


@pytest.mark.parametrize("data", [5, "text", [1, 2], object()])
def test_a_message_is_made_of_a_mapping(data):
    with pytest.raises(TypeError, match="a mapping of paths to values is expected, not"):
        mf.Message(data)
    with pytest.raises(TypeError, match="a mapping of paths to values is expected, not"):
        mf.Message().update(data)


# --- depth -----------------------------------------------------------------------------------------------------------


def nested(levels, make=lambda inner: {"a": inner}):
    value = 1
    for _ in range(levels):
        value = make(value)
    return value


@pytest.mark.parametrize(
    "make",
    [lambda inner: {"a": inner}, lambda inner: [inner], lambda inner: (inner,), lambda inner: mf.Message(a=inner)],
    ids=["dict", "list", "tuple", "message"],
)
def test_a_message_is_100_levels_deep_at_most_whatever_the_levels_are(make):
    message = mf.Message(x=nested(MAX_DEPTH - 1, make))
    assert message == message.copy() and str(message) and message.to_dict()
    for change in (
        lambda: mf.Message(x=nested(MAX_DEPTH, make)),
        lambda: message.__setitem__("x", make(message["x"])),
        lambda: message.__setitem__("x.a" if "x.a" in message else "y.a", message["x"]),
        lambda: message.update({"y.y": message["x"]}),
    ):
        with pytest.raises(MessageError, match="at most 100 levels deep, and this goes deeper or contains itself"):
            change()


def test_levels_that_a_path_has_made_count():
    message = mf.Message(a={}, b={})
    message[".".join("a" * MAX_DEPTH)] = message[".".join("b" * MAX_DEPTH)] = 1
    with pytest.raises(MessageError, match=r"'b\.b' cannot be set: a Message is at most 100 levels deep"):
        message["b.b"] = message["a"]
    message["b"] = message["a"]
    assert message["b"] == message["a"]


@pytest.mark.parametrize("make", [lambda inner: {"a": inner}, lambda inner: [inner], lambda inner: (inner,)])
def test_a_value_that_is_100_000_levels_deep_is_refused(make):
    with pytest.raises(MessageError, match="'x' cannot be set"):
        mf.Message()["x"] = nested(100_000, make)


def test_a_value_that_contains_itself_is_refused():
    endless = {}
    endless["again"] = [endless]
    with pytest.raises(MessageError, match="contains itself"):
        mf.Message(x=endless)


@pytest.mark.parametrize("make", [lambda a: [a, a], lambda a: (a, a), lambda a: {"x": a, "y": a}, lambda a: ([a], [a])])
def test_values_that_are_shared_at_every_level_are_taken_once(make):
    start = time.monotonic()
    message = mf.Message(x=nested(48, make))
    message["deep.deep"] = message["x"]
    with pytest.raises(MessageError, match="levels deep"):
        message[".".join(["a"] * 60)] = message["x"]
    assert time.monotonic() - start < 2


def test_what_has_been_deleted_no_longer_counts_as_depth():
    """A record that keeps the one before it, and drops the one before that."""
    message = mf.Message(state={"n": 0})
    for n in range(1, 3 * MAX_DEPTH):
        message["state"] = {"n": n, "before": message["state"], "pair": (message["state"],), "list": [message["state"]]}
        for path in ("before.before", "before.pair", "before.list"):
            message.pop(f"state.{path}", None)
        message["state.pair"], message["state.list"] = (), []
    assert message["state.before"] == {"n": n - 1}


# --- size ------------------------------------------------------------------------------------------------------------


def test_100_000_keys_are_set_one_by_one_in_about_a_second():
    start = time.monotonic()
    message = mf.Message()
    for number in range(100_000):
        message[f"k{number}"] = number
        message[f"docs.k{number}"] = number
    assert len(message) == 100_001 and len(message["docs"]) == 100_000 and message["docs.k99999"] == 99_999
    assert time.monotonic() - start < 10


def test_copies_of_a_large_message_cost_nothing():
    message = mf.Message({f"k{number}": number for number in range(100_000)})
    start = time.monotonic()
    copies = [message.copy() for _ in range(1_000)] + [message.view() for _ in range(1_000)]
    assert len({id(one["k5"]) for one in copies}) == 1 and time.monotonic() - start < 1


def test_a_long_row_of_copies_keeps_no_old_values_alive():
    class Picture:
        pass

    message = mf.Message()
    pictures = []
    for number in range(1_000):
        message = message.copy()
        message["picture"], message["n"] = Picture(), number
        pictures.append(weakref.ref(message["picture"]))
    gc.collect()
    assert sum(picture() is not None for picture in pictures) <= 3


# --- the dicts and lists that a Message hands out --------------------------------------------------------------------


def test_what_somebody_makes_of_the_types_that_are_handed_out_is_taken_as_any_dict_or_list():
    inner = [1]
    message = mf.Message(a=ReadOnlyDict(x=inner), b=ReadOnlyList([inner]))
    inner.append(2)
    assert message == {"a": {"x": [1]}, "b": [[1]]}
    with pytest.raises(MessageFrozen):
        message["b.0"].append(3)


def test_what_is_handed_out_serves_as_a_dict_or_list_and_gives_plain_ones():
    message = mf.Message(user={"n": 1}, items=[3, 1])
    user, items = message["user"], message["items"]
    assert isinstance(user, dict) and isinstance(items, list) and json.dumps([user, items]) == '[{"n": 1}, [3, 1]]'
    assert user | {"m": 2} == {"n": 1, "m": 2} and items * 2 == [3, 1, 3, 1] and sorted(items) == [1, 3]
    assert (type(user.copy()), type(items.copy()), type(items[:1])) == (dict, list, list)
