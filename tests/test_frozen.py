"""Frozen JSON values: equal to the plain ones, hashable, and refusing every change."""

import copy
import enum
import json
import math
import pickle
from collections.abc import MutableMapping, MutableSequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
from msgflow._frozen import FrozenDict, FrozenList, StateValue, freeze, non_finite, thaw
from msgflow.errors import NotJson

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)

READING = {
    *dir(object),
    *("__class_getitem__", "__contains__", "__getitem__", "__iter__", "__len__", "__reversed__"),
    *("copy", "get", "items", "keys", "values", "fromkeys", "__or__", "__ror__"),
    *("count", "index", "__add__", "__mul__", "__rmul__"),
}
ARGUMENTS = {
    **dict.fromkeys(("__setitem__", "setdefault", "insert"), (0, 1)),
    **dict.fromkeys(("popitem", "clear", "sort", "reverse"), ()),
    **dict.fromkeys(("__ior__", "update"), ({"b": 1},)),
    **dict.fromkeys(("__iadd__", "extend"), ([1],)),
}


@given(values)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_freezing_and_thawing_gives_the_value_back(value):
    frozen = freeze(value)
    assert frozen == value and thaw(frozen) == value and json.dumps(frozen) == json.dumps(value)
    assert repr(frozen) == repr(value) and freeze(frozen) == frozen
    hash(frozen)


@given(values)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_frozen_value_is_its_own_copy_and_its_pickle_is_frozen(value):
    frozen = freeze(value)
    assert copy.copy(frozen) is frozen and copy.deepcopy(frozen) is frozen
    again = pickle.loads(pickle.dumps(frozen))
    assert again == frozen and type(again) is type(frozen)


@pytest.mark.parametrize("frozen", [freeze({"a": [1]}), freeze([3, 1])], ids=["dict", "list"])
def test_every_method_that_changes_a_dict_or_list_is_refused(frozen):
    plain, before = type(frozen).__mro__[1], copy.deepcopy(frozen)
    changing = [name for name in dir(plain) if name not in READING]
    abstract = MutableMapping if plain is dict else MutableSequence
    assert set(abstract.__abstractmethods__) - READING <= set(changing)
    for name in changing:
        with pytest.raises(TypeError, match="assign a new value"):
            getattr(frozen, name)(*ARGUMENTS.get(name, (0,)))
    assert frozen == before


def test_a_frozen_value_is_frozen_all_the_way_down():
    frozen = freeze({"a": [{"b": [1]}]})
    with pytest.raises(TypeError, match="published whole"):
        frozen["a"][0]["b"].append(2)


def test_freezing_copies_so_that_the_original_stays_free():
    original = {"a": [1]}
    frozen = freeze(original)
    original["a"].append(2)
    assert frozen == {"a": [1]}


def test_equal_values_have_equal_hashes_whatever_the_order_of_their_keys():
    assert hash(freeze({"a": 1, "b": [1, 2]})) == hash(freeze({"b": [1.0, 2], "a": True}))
    assert len({freeze([1]), freeze([1]), freeze([2])}) == 2


def test_what_is_no_json_value_is_refused_with_its_place_and_type():
    for value, message in [
        ((1, 2), "value is of type tuple"),
        ({1}, "of type set"),
        (b"x", "of type bytes"),
        ([1, {"k": [object()]}], r"value\[1\]\['k'\]\[0\] is of type object"),
        ({"a": {2: 1}}, r"value\['a'\] has the key 2 of type int; keys must be text"),
    ]:
        with pytest.raises(NotJson, match=message):
            freeze(value)


def test_subclasses_of_plain_types_become_plain():
    class Color(str, enum.Enum):  # noqa: UP042  # unlike a StrEnum, its str() is 'Color.RED'
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    class Metres(float):
        pass

    frozen = freeze({Color.RED: [Color.RED, Level.HIGH, Metres(2.5), True]})
    assert json.dumps(frozen) == '{"red": ["red", 3, 2.5, true]}'
    assert [type(item) for item in frozen["red"]] == [str, int, float, bool] and type(next(iter(frozen))) is str
    assert type(freeze(nn.Parameter("text").value)) is str


def test_non_finite_numbers_are_found_with_their_places():
    value = freeze({"a": [1.0, math.nan, {"b": -math.inf}], "c": math.inf, "d": "nan", "e": 10**400})
    assert list(non_finite(value, "v")) == ["v['a'][1]", "v['a'][2]['b']", "v['c']"]


def test_a_frozen_value_is_a_dict_or_list_to_every_reader():
    frozen = FrozenDict(a=1)
    assert isinstance(frozen, dict) and {**frozen, "b": 2} == frozen | {"b": 2} == {"a": 1, "b": 2}
    assert isinstance(FrozenList([1]), list) and freeze([1]).__add__([2]) == [1, 2]


def test_a_value_that_contains_itself_is_refused_by_its_place():
    endless = []
    endless.append(endless)
    with pytest.raises(NotJson, match=r"the buffer 'loop' is nested too deep .* or contains itself"):
        freeze(endless, "the buffer 'loop'")


ASKED = {
    "is_leaf": lambda value: value.is_leaf,
    "is_floating": lambda value: value.is_floating,
    "watch": lambda value: value.watch(None),
    "kept_by": lambda value: value.kept_by(None),
    "replacement": lambda value: value.replacement(1, "w"),
    "copied": lambda value: value.copied(),
    "raw": lambda value: value.raw(),
    "to": lambda value: value.to("cpu"),
    "described": lambda value: value.described(),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_value_that_is_no_json_has_to_say_itself_what_a_state_asks_of_it(asked):
    with pytest.raises(NotImplementedError):
        asked(StateValue())
