"""A Message as JSON: what would not come back as it was is refused."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from msgflow._message.tree import ReadOnlyDict, ReadOnlyList, shown, too_deep
from msgflow.errors import MessageError

_SURROGATE = re.compile("[\ud800-\udfff]")
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_MAX_INT_BITS = 14_283  # 4300 digits, the most that Python reads


def dumps(tree: ReadOnlyDict) -> str:
    for path, problem in _problems(tree, ()):
        key = ".".join(path)
        raise MessageError(f"{shown(key)} {problem}, which JSON does not give back as it was", key=key)
    text = json.dumps(tree, ensure_ascii=False)
    # UTF-8 has no lone surrogates; here they stand only inside strings, where an escape means the same.
    return text if text.isascii() else _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _problems(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, ReadOnlyDict):
        for key, item in value.items():
            if not isinstance(key, str) or _SURROGATE_PAIR.search(key):
                yield path, f"has the key {key!r:.80} of type {type(key).__name__}"
            yield from _problems(item, (*path, key))
    elif isinstance(value, ReadOnlyList):
        for index, item in enumerate(value):
            yield from _problems(item, (*path, str(index)))
    elif (problem := _problem(value)) is not None:
        yield path, problem


def _problem(value: Any) -> str | None:
    if value is None or isinstance(value, str | int | float):
        if isinstance(value, str):
            return "holds a pair of surrogates" if not value.isascii() and _SURROGATE_PAIR.search(value) else None
        if isinstance(value, int):
            return "is an int of more than 4300 digits" if value.bit_length() > _MAX_INT_BITS else None
        return f"is {value!r}" if isinstance(value, float) and not math.isfinite(value) else None
    return f"is of type {type(value).__name__}"


def loads(text: str | bytes) -> dict[str, Any]:
    """Raises MessageError with line and column, or with the key at fault."""
    try:
        data = json.loads(text, object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_finite)
    except json.JSONDecodeError as error:
        raise MessageError(f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise too_deep("") from None
    except MessageError:
        raise
    except ValueError as error:  # bytes that are no text, an int of more digits than Python converts
        raise MessageError(f"the JSON cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise MessageError(f'the JSON is a {type(data).__name__}; a Message is an object, such as {{"n": 1}}')
    return data


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for key, value in pairs:
        if key in held:
            raise MessageError(f"the key {shown(key)} is there twice in one JSON object; keep one of them", key=key)
        held[key] = value
    return held


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MessageError(f"the JSON holds {text}, which is no finite number; write null, or the number as text")
    return number
