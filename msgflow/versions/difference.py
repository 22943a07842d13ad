"""What differs between two states."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from msgflow._printable import printable
from msgflow.state.arrays import as_stored
from msgflow.state.digest import fingerprint
from msgflow.state.summary import change, summary
from msgflow.versions.documents import TensorRef

ABSENT = object()


@dataclass(frozen=True, slots=True)
class Diff:
    """What it takes from version `a` to version `b`, by key; `changed` has (before, after). False where it is nothing.

    `str(diff)` is a unified diff of each key, texts line by line; of tensors it says how far they are apart.
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
        name = printable(key)
        before_lines, after_lines = _lines_of(before, after)
        yield from difflib.unified_diff(
            before_lines,
            after_lines,
            fromfile="/dev/null" if before is ABSENT else name,
            tofile="/dev/null" if after is ABSENT else name,
            fromfiledate="" if before is ABSENT else self.a,
            tofiledate="" if after is ABSENT else self.b,
            lineterm="",
        )


def difference(a: str, before: Mapping[str, Any], b: str, after: Mapping[str, Any]) -> Diff:
    """Compares as digests do: 1 is not 1.0, the order of keys does not matter, tensors are compared to the bit."""
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


def contents_of(state: Mapping[str, Any]) -> dict[str, str]:
    """The content of every value."""
    return {key: content(value) for key, value in state.items()}


def content(value: Any) -> str:
    """Equal for equal values only, whatever the order of their keys; surrogates stay apart from what they encode."""
    if isinstance(value, TensorRef):
        return f"tensor {value.fingerprint}"
    tensor = as_stored(value, "a tensor")
    if tensor is not None:
        return f"tensor {fingerprint(tensor)}"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _lines_of(before: Any, after: Any) -> tuple[list[str], list[str]]:
    as_text = all(value is ABSENT or isinstance(value, str) for value in (before, after))
    lines = _lines(before, as_text), _lines(after, as_text)
    if before is not ABSENT and after is not ABSENT:
        one, other = as_stored(before, ""), as_stored(after, "")
        if one is not None and other is not None and (said := change(one, other)):
            lines[1][0] += f"; {said}"
    return lines


def _lines(value: Any, as_text: bool) -> list[str]:
    if value is ABSENT:
        return []
    tensor = as_stored(value, "")
    if tensor is not None:
        return [summary(tensor)]
    text = value if as_text else json.dumps(value, indent=2, ensure_ascii=False)
    return [printable(line) for line in text.split("\n")]
