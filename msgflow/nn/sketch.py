"""How modules are drawn as flows: boxes and arrows from where a call begins to where it ends.

`draw` is a table by class (functools.singledispatch): how a module of a class draws its steps. A room above says where
its part of the table is with `tables.append("package.module")`; that module is imported with the first picture.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch
from importlib import import_module

from msgflow.nn.containers import Sequential
from msgflow.nn.drawing import Box, Drawing, Edge, Line, Node, Part, Shape
from msgflow.nn.function import Function
from msgflow.nn.module import Module

tables: list[str] = []
# Flows that only a box around their step shows, and what the box says beside their class.
boxed: dict[type[Module], str] = {}


@dataclass(frozen=True, slots=True)
class Exit:
    """A node that is left, and what is written on the edge to wherever it leads."""

    node: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ends:
    """The node where a step is entered, and all those where it is left."""

    entry: str
    exits: tuple[Exit, ...]


@singledispatch
def draw(module: Module, sketch: "Sketch") -> Ends:
    """Draw the inside of a module in a sketch, in the box that may be around it."""
    raise NotImplementedError(f"{type(module).__name__} has no drawing")


def load_tables() -> None:
    """Import what is told to in `tables`."""
    for place in tables:
        import_module(place)


def text_of(module: Module) -> str:
    """What is written in a module's node: its class and what `extra_repr` says of it, or the name of its function."""
    if isinstance(module, Function):
        return module.name
    extra = module.extra_repr()
    return f"{type(module).__name__}({extra})" if extra else type(module).__name__


def _has_drawing(module: Module) -> bool:
    return draw.dispatch(type(module)) is not draw.dispatch(Module)


def holds_flow(module: Module) -> bool:
    """Whether a module is a flow, or has one somewhere inside. A Sequential alone does not count."""
    return any(_has_drawing(part) and not isinstance(part, Sequential) for part in module.modules())


def is_flow(module: Module) -> bool:
    """Whether a module is a flow: one of the table, or a Sequential with flows in it."""
    return _has_drawing(module) and holds_flow(module)


def is_plain(module: Module) -> bool:
    """Whether a step is drawn as a mere node."""
    return not _has_drawing(module) and not holds_flow(module)


class Sketch:
    """A drawing in the making."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, ...]] = {}
        self._boxes: dict[str, str] = {}
        self._parts: list[tuple[tuple[str, ...], Node | Edge | str]] = []
        self._here: tuple[str, ...] = ()
        self._drawn: set[Module] = set()
        self._boxed: set[Module] = set()

    def node(self, text: str, shape: Shape = "step") -> str:
        """Add a node; returns its id."""
        node = Node(f"n{len(self._places)}", text, shape)
        self._places[node.id] = self._here
        self._parts.append((self._here, node))
        return node.id

    def edge(self, start: str, end: str, text: str = "", line: Line = "plain") -> None:
        """Add an edge between two nodes."""
        # Mermaid moves a node into each box that one of its edges is written in.
        both = zip(self._places[start], self._places[end], strict=False)
        self._parts.append((tuple(a for a, b in both if a == b), Edge(start, end, text, line)))

    @contextmanager
    def box(self, title: str) -> Iterator[None]:
        """A frame around what is drawn meanwhile."""
        outside, id_ = self._here, f"b{len(self._boxes)}"
        self._boxes[id_] = title
        self._parts.append((outside, id_))
        self._here = (*outside, id_)
        try:
            yield
        finally:
            self._here = outside

    def step(self, module: Module, name: str = "", arguments: str = "") -> Ends:
        """Draw a step: a node, or its inside where that is a flow.

        `name` is the one that a user gave it, `arguments` what it is called with where it is not the result before.
        A flow that is drawn already is a mere node, so that one in many places, or inside of itself, is drawn once.
        """
        text = text_of(module)
        notes = [note for kind, note in boxed.items() if note and isinstance(module, kind)]
        title = ", ".join([f"{text}({arguments})" if arguments else text, *notes])
        if name and name != title and not name.isdecimal():
            title = f"{name}: {title}"
        if is_plain(module):
            return self.single(title)
        kind = type(module)
        speaks_for_itself = title == text and kind is not Module and kind in draw.registry and kind not in boxed
        return self.inside(module, "" if speaks_for_itself else title)

    def inside(self, module: Module, title: str) -> Ends:
        """The inside of a flow, in a box where there is a title; a node where it is drawn already."""
        if self.is_drawn(module):
            return self.single(title or text_of(module), "again")
        self._drawn.add(module)
        if not title:
            return draw(module, self)
        self._boxed.add(module)
        with self.box(title):
            return draw(module, self)

    def is_boxed(self, module: Module) -> bool:
        """Whether a flow has a box of its own, which says what it is."""
        return module in self._boxed

    def is_drawn(self, module: Module) -> bool:
        """Whether the inside of a flow has been drawn, or has begun to be."""
        return module in self._drawn

    def single(self, text: str, shape: Shape = "step") -> Ends:
        """A node that is both where a step is entered and where it is left."""
        node = self.node(text, shape)
        return Ends(node, (Exit(node),))

    def connect(self, exits: Iterable[Exit], end: str, text: str = "", line: Line = "plain") -> None:
        """Edges from all exits to a node."""
        for each in exits:
            self.edge(each.node, end, ", ".join(filter(None, (each.text, text))), line)

    def in_order(self, steps: Iterable[Ends], empty: str) -> Ends:
        """One after the other; each is drawn when it is its turn. `empty` is written where there is none."""
        entry = ""
        exits: tuple[Exit, ...] = ()
        for ends in steps:
            self.connect(exits, ends.entry)
            entry, exits = entry or ends.entry, ends.exits
        return Ends(entry, exits) if entry else self.single(empty)

    def finish(self) -> Drawing:
        """What was drawn, each part in its box."""
        inside: dict[str, list[Part | str]] = {id_: [] for id_ in ("", *self._boxes)}
        for boxes, part in self._parts:
            inside[boxes[-1] if boxes else ""].append(part)

        def parts(id_: str) -> tuple[Part, ...]:
            return tuple(
                Box(part, self._boxes[part], parts(part)) if isinstance(part, str) else part for part in inside[id_]
            )

        return Drawing(parts(""))
