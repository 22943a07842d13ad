"""What commands print: values that people can read, and nothing that a terminal would obey."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgflow._printable import printable
from msgflow.state.arrays import StoredTensor, as_stored
from msgflow.state.summary import summary

WIDTH = 100  # a value longer than this is spread over lines
INDENT = "    "


def indented(text: str) -> Iterator[str]:
    """Its lines, each behind a margin."""
    return (INDENT + printable(line) if line else "" for line in text.split("\n"))


def shown(key: str, value: Any) -> Iterator[str]:
    """The lines for one value of a state: text as it is, below its key; all else behind it, as JSON."""
    key = printable(key)
    tensor = as_stored(value, key)
    if tensor is not None:
        yield f"{key} = {summary(tensor)}"
    elif isinstance(value, str) and value:
        yield f"{key}:"
        yield from indented(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
        if len(text) > WIDTH:
            text = json.dumps(value, ensure_ascii=False, indent=2)
        first, *rest = text.split("\n")
        yield f"{key} = {printable(first)}"
        yield from map(printable, rest)


def as_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with each tensor as what it is: its type, shape and the SHA-256 of its bytes."""
    tensors = {key: as_stored(value, key) for key, value in state.items()}
    return {key: value if (tensor := tensors[key]) is None else _described(tensor) for key, value in state.items()}


def _described(tensor: StoredTensor) -> dict[str, Any]:
    from hashlib import sha256

    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "sha256": sha256(tensor.array.data).hexdigest()}
