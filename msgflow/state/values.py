"""The values of a state, told apart, compared and named exactly."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgflow._frozen import freeze, thaw
from msgflow.errors import NotJson
from msgflow.state.arrays import StoredTensor, as_stored


class State(NamedTuple):
    """A state dict in its two kinds: JSON values, and tensors."""

    values: dict[str, Any]
    tensors: dict[str, StoredTensor]


def split(state: Mapping[str, Any]) -> State:
    """The state as plain dicts, lists and text, and as tensors: subclasses and frozen values are gone.

    Raises NotJson (a TypeError) that names the key and what is wrong with its value.
    """
    parts = State({}, {})
    for key, value in state.items():
        if not isinstance(key, str):
            raise NotJson(f"the state has the key {key!r} of type {type(key).__name__}; keys must be text")
        tensor = as_stored(value, repr(key))
        if tensor is None:
            parts.values[str.__str__(key)] = thaw(freeze(value, repr(key)))
        else:
            parts.tensors[str.__str__(key)] = tensor
    return parts


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit: 1 is not 1.0 or True, 0.0 is not -0.0, NaN is NaN, dicts have one order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float):
        return repr(one) == repr(other)
    return bool(one == other)


def depth(value: Any) -> int:
    """How many lists and dicts are around the innermost value."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first key that only one of two states has, or that they hold differently."""
    for key in {**one, **other}:
        if key not in one or key not in other or not same(one[key], other[key]):
            return key
    return None
