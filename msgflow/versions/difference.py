"""What differs between two states."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgflow._printable import printable

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Diff:
    """What it takes from version `a` to version `b`, by key; `changed` has (before, after). False where it is nothing.

    `str(diff)` is a unified diff of each key, texts line by line.
    """

    a: str
    b: str
    added: dict[str, Any]
    removed: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        pairs = {key: (value, ABSENT) for key, value in self.removed.items()}
        pairs |= self.changed
        pairs |= {key: (ABSENT, value) for key, value in self.added.items()}
        lines = [line for key, (before, after) in pairs.items() for line in self._unified(key, before, after)]
        return "\n".join(lines)

    def _unified(self, key: str, before: Any, after: Any) -> Iterator[str]:
        as_text = all(value is ABSENT or isinstance(value, str) for value in (before, after))
        name = printable(key)
        yield from difflib.unified_diff(
            _lines(before, as_text),
            _lines(after, as_text),
            fromfile="/dev/null" if before is ABSENT else name,
            tofile="/dev/null" if after is ABSENT else name,
            fromfiledate="" if before is ABSENT else self.a,
            tofiledate="" if after is ABSENT else self.b,
            lineterm="",
        )


def difference(a: str, before: Mapping[str, Any], b: str, after: Mapping[str, Any]) -> Diff:
    """Compares as digests do: 1 is not 1.0, the order of keys does not matter."""
    return Diff(
        a,
        b,
        added={key: value for key, value in after.items() if key not in before},
        removed={key: value for key, value in before.items() if key not in after},
        changed={
            key: (before[key], after[key])
            for key in before
            if key in after and content(before[key]) != content(after[key])
        },
    )


def content(value: Any) -> str:
    """Equal for equal values only, whatever the order of their keys; surrogates stay apart from what they encode."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _lines(value: Any, as_text: bool) -> list[str]:
    if value is ABSENT:
        return []
    text = value if as_text else json.dumps(value, indent=2, ensure_ascii=False)
    return [printable(line) for line in text.split("\n")]
