"""A short name for the content of a state: equal states have the same one, in any process."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from weakref import ref

from msgflow._frozen import StateValue
from msgflow.state.arrays import StoredTensor, as_stored

DIGITS = 16


def digest(state: Mapping[str, Any]) -> str:
    """The first 16 hex digits (64 bits) of the SHA-256 of the state as JSON with sorted keys.

    1 and 1.0 differ, 0.0 and -0.0 differ; the order of keys does not matter. The value of every key is one that JSON
    can write, NaN and infinities included, or a tensor. Tensors follow on a line of their own, by their fingerprints.
    """
    tensors = {key: made for key, value in state.items() if (made := _fingerprint_of(value, key)) is not None}
    return digest_of({key: value for key, value in state.items() if key not in tensors}, tensors)


def digest_of(values: Mapping[str, Any], fingerprints: Mapping[str, str]) -> str:
    """The digest of a state of these values, and of tensors with these fingerprints."""
    text = _as_json(values)
    if fingerprints:
        text += "\n" + _as_json(fingerprints)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def fingerprint(tensor: StoredTensor) -> str:
    """The name of a tensor's content, 64 hex digits; see `fingerprint_of`."""
    return fingerprint_of(tensor.dtype, tensor.shape, tensor.array.data)


def fingerprint_of(dtype: str, shape: tuple[int, ...], data: bytes | bytearray | memoryview) -> str:
    """The SHA-256 of type, shape and bytes: "float32 2 3", a newline, the bytes in C order and little-endian."""
    made = hashlib.sha256(f"{' '.join(map(str, (dtype, *shape)))}\n".encode())
    made.update(data)
    return made.hexdigest()


def _as_json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, separators=(",", ":"))


# By id, because tensors compare as numbers do. What is kept by a Cell is never given other numbers.
_known: dict[int, tuple[ref[StateValue], str]] = {}


def _fingerprint_of(value: Any, key: str) -> str | None:
    """That of a tensor; one in the state of a module is hashed once, as long as it is there."""
    is_kept = isinstance(value, StateValue) and value.cell is not None
    if is_kept:
        known = _known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
    stored = as_stored(value, repr(key))
    if stored is None:
        return None
    made, place = fingerprint(stored), id(value)
    if is_kept:
        _known[place] = (ref(value, lambda _: _known.pop(place, None)), made)
    return made
