"""A state as JSON: one object of the flat, dotted keys, in the order of the state."""

import json
import re
from collections.abc import Mapping
from typing import Any

from msgflow._frozen import non_finite
from msgflow.errors import StateFileError
from msgflow.state.values import first_difference

SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(state: Mapping[str, Any], old: str = "") -> str:
    """The text of a file that gives back exactly this state; `old` does not matter: JSON has no comments.

    Raises StateFileError that names the key: NaN, infinities, an int of more than 4300 digits, and pairs of
    surrogates, which JSON would read as one character.
    """
    _refuse_non_finite(state)
    for key, value in state.items():
        try:
            json.dumps(value)
        except (ValueError, RecursionError) as error:
            raise StateFileError(f"{key!r} cannot be written as JSON: {error}") from None
    text = json.dumps(state, indent=2, ensure_ascii=False) + "\n"
    # UTF-8 has no lone surrogates; after dumps they stand only inside strings, where an escape means the same.
    text = SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    different = first_difference(state, json.loads(text))
    if different is not None:
        raise StateFileError(f"{different!r} holds surrogate characters that JSON would not give back as they are")
    return text


def loads(text: str) -> dict[str, Any]:
    """The state in the text. Raises StateFileError with line and column, or with the key at fault."""
    try:
        state = json.loads(text, object_pairs_hook=without_duplicates)
        if not isinstance(state, dict):
            raise StateFileError(f"the file holds a {type(state).__name__}; a state is an object of dotted keys")
        _refuse_non_finite(state)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise StateFileError(f"not valid JSON at {where}: {error.msg}") from None
    except RecursionError:
        raise StateFileError("the JSON is nested too deep") from None
    except StateFileError:
        raise
    except ValueError as error:  # an int of more digits than Python converts
        raise StateFileError(f"a number cannot be read: {error}") from None
    return state


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for key, value in pairs:
        if key in held:
            raise StateFileError(f"the key {key!r} is there twice in one object; keep one of them")
        held[key] = value
    return held


def _refuse_non_finite(state: Mapping[str, Any]) -> None:
    for key, value in state.items():
        for place in non_finite(value, repr(key)):
            raise StateFileError(f"{place} is NaN or infinite, which JSON cannot hold; a .toml file can")
