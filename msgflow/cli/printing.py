"""What commands print: values that people can read, and nothing that a terminal would obey."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgflow._printable import printable

WIDTH = 100  # a value longer than this is spread over lines
INDENT = "    "


def indented(text: str) -> Iterator[str]:
    """Its lines, each behind a margin."""
    return (INDENT + printable(line) if line else "" for line in text.split("\n"))


def shown(key: str, value: Any) -> Iterator[str]:
    """The lines for one value of a state: text as it is, below its key; all else behind it, as JSON."""
    key = printable(key)
    if is_tensor(value):
        yield f"{key} = {value.dtype} tensor of shape {tuple(value.shape)}"
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


def is_tensor(value: Any) -> bool:
    """Of what a state file or a store holds, only arrays have a dtype."""
    return hasattr(value, "dtype")


def as_json(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with each tensor as what it is: its type, shape and the SHA-256 of its bytes."""
    return {key: _described(value) if is_tensor(value) else value for key, value in state.items()}


def _described(tensor: Any) -> dict[str, Any]:
    from hashlib import sha256

    return {
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "sha256": sha256(tensor.tobytes()).hexdigest(),
    }
