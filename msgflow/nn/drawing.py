"""Drawings: nodes, edges and boxes around them, which are written as Mermaid or as Graphviz DOT.

Sources: the flowchart syntax of Mermaid, mermaid.js.org/syntax/flowchart.html, tried with its versions 11 and 12; the
DOT language, graphviz.org/doc/info/lang.html, tried with Graphviz 2.43.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from string import punctuation
from textwrap import wrap
from typing import Literal, TypeAlias

LONGEST_LABEL = 120
DOT_LINE = 40  # letters; Mermaid breaks lines itself
_PLAIN = frozenset(" .,:=()+/'-")

Shape: TypeAlias = Literal["step", "again", "decision", "fork", "point", "end"]
Line: TypeAlias = Literal["plain", "next", "aside"]


@dataclass(frozen=True, slots=True)
class Node:
    """`again` is what is drawn in full elsewhere, `point` where lines meet, `end` an end of a flow."""

    id: str
    text: str
    shape: Shape = "step"


@dataclass(frozen=True, slots=True)
class Edge:
    """From a node to a node, by their ids."""

    start: str
    end: str
    text: str = ""
    line: Line = "plain"


@dataclass(frozen=True, slots=True)
class Box:
    """A frame with a title. An edge is in the innermost box that has both of its ends."""

    id: str
    text: str
    parts: "tuple[Part, ...]"


Part: TypeAlias = Node | Edge | Box


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn, in the order in which it is written; an edge comes after its nodes."""

    parts: tuple[Part, ...]


def one_line(text: str) -> str:
    """The text without breaks and marks that are not seen, cut where it is long."""
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 3]}..."


# --- Mermaid -----------------------------------------------------------------------------------------------------

_MERMAID_SHAPES: dict[Shape, tuple[str, str]] = {
    "step": ("[", "]"),
    "again": ("[[", "]]"),
    "decision": ("{", "}"),
    "fork": ("{{", "}}"),
    "point": ("((", "))"),
    "end": ("([", "])"),
}
_MERMAID_ARROWS: dict[Line, str] = {"plain": "-->", "next": "==>", "aside": "-.->"}


def _mermaid_text(line: str) -> str:
    """For between quotes: whatever Mermaid or HTML could read as more than a letter is written as its number."""
    return "".join(mark if mark.isalnum() or mark in _PLAIN else f"#{ord(mark)};" for mark in line)


def mermaid(drawing: Drawing) -> str:
    """The text of a Mermaid flowchart. No text in the drawing can become Mermaid code."""
    return "\n".join(["flowchart TD", *_mermaid_lines(drawing.parts, "    ")]) + "\n"


def _mermaid_lines(parts: tuple[Part, ...], margin: str) -> Iterator[str]:
    for part in parts:
        label = _mermaid_text(one_line(part.text)) or " "
        if isinstance(part, Box):
            yield f'{margin}subgraph {part.id}["{label}"]'
            yield from _mermaid_lines(part.parts, f"{margin}    ")
            yield f"{margin}end"
        elif isinstance(part, Node):
            opening, closing = _MERMAID_SHAPES[part.shape]
            yield f'{margin}{part.id}{opening}"{label}"{closing}'
        else:
            text = f'|"{label}"|' if part.text else ""
            yield f"{margin}{part.start} {_MERMAID_ARROWS[part.line]}{text} {part.end}"


# --- DOT ---------------------------------------------------------------------------------------------------------

_DOT_SHAPES: dict[Shape, str] = {
    "step": "shape=box, style=rounded",
    "again": "shape=box, peripheries=2",
    "decision": 'shape=diamond, margin="0.02"',
    "fork": "shape=hexagon",
    "point": "shape=circle, style=filled, fillcolor=black, width=0.1, height=0.1, fixedsize=true",
    "end": "shape=oval, style=filled, fillcolor=gray93",
}
_DOT_LINES: dict[Line, str] = {"plain": "", "next": ", penwidth=2", "aside": ", style=dashed"}
# Graphviz reads the numbers first, then the backslashes; numbers above 16 bits it gets wrong.
_DOT_ESCAPES = str.maketrans({mark: f"&#{ord(mark)};" for mark in punctuation if mark not in _PLAIN} | {"\\": r"\\"})
_DOT_START = """\
digraph msgflow {
    graph [fontname="Helvetica,Arial,sans-serif", fontsize=11, labeljust=l, color=gray50, style=rounded]
    node [fontname="Helvetica,Arial,sans-serif", fontsize=11, height=0.4]
    edge [fontname="Helvetica,Arial,sans-serif", fontsize=10]"""


def dot(drawing: Drawing) -> str:
    """The text of a DOT graph, for Graphviz. No text in the drawing can become DOT code."""
    return "\n".join([_DOT_START, *_dot_lines(drawing.parts, "    "), "}"]) + "\n"


def _dot_lines(parts: tuple[Part, ...], margin: str) -> Iterator[str]:
    for part in parts:
        label = r"\n".join(line.translate(_DOT_ESCAPES) for line in wrap(one_line(part.text), DOT_LINE))
        if isinstance(part, Box):
            yield f"{margin}subgraph cluster_{part.id} {{"
            yield f'{margin}    label="{label}"'
            yield from _dot_lines(part.parts, f"{margin}    ")
            yield f"{margin}}}"
        elif isinstance(part, Node):
            yield f'{margin}{part.id} [label="{label}", {_DOT_SHAPES[part.shape]}]'
        else:
            space = " " if label else ""  # to the line that it is beside
            yield f'{margin}{part.start} -> {part.end} [label="{space}{label}"{_DOT_LINES[part.line]}]'
