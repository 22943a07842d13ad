"""A module as a picture: a flow as boxes and arrows from its input to its output, all else as the tree of its modules.

n0["Workflow"]                a module: its class and what `extra_repr` says of it
n0 -->|"name"| n1             a submodule; those of a ModuleList or ModuleDict hang on its owner, as "name.key"
n1 ==>|"1"| n2                the next one of a Sequential
n0 -->|"0-2"| n3["3 x Step"]  several that are equal, as in `repr`
n0 -.->|"name"| n4            a submodule, where arrows are taken: in a picture with flows
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from msgflow.errors import DrawingError
from msgflow.nn.containers import ModuleDict, ModuleList, Sequential
from msgflow.nn.drawing import Drawing, Line, mermaid
from msgflow.nn.module import Module
from msgflow.nn.sketch import Ends, Exit, Sketch, draw, holds_flow, is_flow, load_tables, text_of


def diagram(module: Module) -> str:
    """A module as the text of a Mermaid flowchart: what a flow does, or else the tree, a shared module drawn once.

    Equal modules give equal texts. No name or text of a module can become Mermaid code.
    """
    return mermaid(drawing(module))


def drawing(module: Module) -> Drawing:
    """The same as a drawing, which can be written in other languages, too. Raises DrawingError for one too deep."""
    if not isinstance(module, Module):
        raise TypeError(f"a diagram is of a Module, not of {type(module).__name__}")
    load_tables()
    sketch = Sketch()
    try:
        if is_flow(module) or _lone_flow(module):
            start = sketch.node("input", "end")
            ends = sketch.step(module)
            sketch.edge(start, ends.entry)
            sketch.connect(ends.exits, sketch.node("output", "end"))
        else:
            _Tree(module, sketch).draw(module)
        return sketch.finish()
    except RecursionError:
        raise DrawingError(f"{type(module).__name__} is nested too deep for a picture; draw a part of it") from None


def _lone_flow(module: Module) -> Module | None:
    """The flow that a module has, and nothing else."""
    children = list(module._modules.values())
    return children[0] if len(children) == 1 and is_flow(children[0]) else None


@draw.register
def _(module: Module, sketch: Sketch) -> Ends:
    flow = _lone_flow(module)
    if flow is not None:
        return sketch.step(flow)
    node = _Tree(module, sketch).draw(module)
    return Ends(node, (Exit(node),))


@draw.register
def _(module: Sequential, sketch: Sketch) -> Ends:
    return sketch.in_order((sketch.step(child) for child in module._modules.values()), text_of(module))


class _Tree:
    def __init__(self, root: Module, sketch: Sketch) -> None:
        self.sketch = sketch
        self.nodes: dict[Module, str] = {}
        uses = Counter(child for module in root.modules() for child in module._modules.values())
        self.shared = {root, *(module for module, count in uses.items() if count > 1)}
        self.owns: Line = "aside" if holds_flow(root) else "plain"

    def draw(self, module: Module, count: int = 1, before: str = "", name: str = "", line: Line = "plain") -> str:
        """Draw a module and all below it, if it is not yet there, and the edge to it; returns its node.

        `count` is how many equal ones it stands for.
        """
        new = module not in self.nodes
        if new:
            text = text_of(module)
            self.nodes[module] = self.node(module, f"{count} x {text}" if count > 1 else text)
        node = self.nodes[module]
        if before:
            self.sketch.edge(before, node, name or " ", line)
        if not new or is_flow(module):
            return node
        before, line = node, self.owns
        for name, child, equal in self.children(module):
            drawn = self.draw(child, equal, before, name, line)
            if isinstance(module, Sequential):
                before, line = drawn, "next"
        return node

    def node(self, module: Module, text: str) -> str:
        """The node that stands for a module; of a flow, the one where it begins."""
        if not is_flow(module):
            return self.sketch.node(text)
        if self.sketch.is_drawn(module):
            return self.sketch.inside(module, text).entry
        with self.sketch.box(text):
            ends = self.sketch.inside(module, "")
            if any(each.text for each in ends.exits):
                self.sketch.connect(ends.exits, self.sketch.node("", "point"))
        return ends.entry

    def children(self, module: Module, prefix: str = "") -> Iterator[tuple[str, Module, int]]:
        """Names, modules, and how many equal ones each of them stands for."""
        for _, run in groupby(module._modules.items(), self.alike):
            (first, child), *others = run
            name = prefix + (f"{first}-{others[-1][0]}" if others else first)
            if not others and self.is_only_a_list(child):
                yield from self.children(child, f"{name}.")
            else:
                yield name, child, 1 if child in self.shared else 1 + len(others)

    def alike(self, item: tuple[str, Module]) -> object:
        """Equal for those neighbours that are drawn as one: numbered ones that look the same and share nothing."""
        name, child = item
        if not name.isdecimal():
            return name, child
        return child if not self.shared.isdisjoint(child.modules()) else repr(child)

    def is_only_a_list(self, module: Module) -> bool:
        return (
            isinstance(module, ModuleList | ModuleDict)
            and module not in self.shared
            and type(module).forward is Module.forward
            and type(module).aforward is Module.aforward
        )
