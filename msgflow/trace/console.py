"""Draws each finished trace as a tree, with durations and tokens.

invoke_workflow Answer           412 ms  state 3fa9c1d2
├─ retrieval docs                  2 ms
└─ invoke_agent answerer         409 ms  231 -> 24 tokens
   └─ chat smollm2               405 ms  231 -> 24 tokens
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from msgflow.trace import names

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


def draw(spans: Sequence["ReadableSpan"]) -> str:
    """The spans of one or more traces as text; those whose parent is not among them are roots."""
    children: dict[int | None, list[ReadableSpan]] = defaultdict(list)
    known = {span.context.span_id for span in spans}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
        children[parent].append(span)
    rows = list(_rows(children))
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label:<{width}}  {_facts(span)}" for label, span in rows)


def _rows(children: dict[int | None, list["ReadableSpan"]]) -> Iterator[tuple[str, "ReadableSpan"]]:
    # An explicit stack, because a trace may be deeper than Python's recursion limit.
    stack = [("", "", span) for span in reversed(children[None])]
    while stack:
        before, branch, span = stack.pop()
        yield before + branch + _printable(span.name), span
        below = before + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        inner = children[span.context.span_id]
        stack += [(below, "└─ " if child is inner[-1] else "├─ ", child) for child in reversed(inner)]


def _printable(name: str) -> str:
    """Without what a terminal would obey: a tool's name may come from a model."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)


def _facts(span: "ReadableSpan") -> str:
    attributes = span.attributes or {}
    facts = [duration(((span.end_time or 0) - (span.start_time or 0)) / 1e9)]
    if names.INPUT_TOKENS in attributes:
        facts.append(f"{attributes[names.INPUT_TOKENS]!s} -> {attributes.get(names.OUTPUT_TOKENS, 0)!s} tokens")
    if names.STATE_DIGEST in attributes:
        facts.append(f"state {attributes[names.STATE_DIGEST]!s}")
    if names.ERROR_TYPE in attributes:
        facts.append(f"FAILED {attributes[names.ERROR_TYPE]!s}")
    return "  ".join(facts)


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best, eight characters wide."""
    if seconds >= 1:
        return f"{seconds:6.2f} s"
    return f"{seconds * 1e3:5.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:5.0f} us"


class TreePrinter:
    """Keeps the spans of a trace until its root has ended, then draws them.

    Spans start and end in any thread; every step here is one operation on a set or dict, which needs no lock.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._open: set[int] = set()
        self._ended: dict[int, list[ReadableSpan]] = {}

    def started(self, span_id: int) -> None:
        self._open.add(span_id)

    def ended(self, span: "ReadableSpan") -> None:
        """A span whose parent is not open here is a root: of its trace, or of what outlived its parent."""
        trace_id = span.context.trace_id
        self._ended.setdefault(trace_id, []).append(span)
        self._open.discard(span.context.span_id)
        if span.parent is None or span.parent.span_id not in self._open:
            print(draw(self._ended.pop(trace_id, [])), file=self._out, flush=True)
