"""A module tree as a Mermaid flowchart.

    n0["Workflow"]                a module: its class and what `extra_repr` says of it
    n0 -->|"name"| n1             a submodule; those of a ModuleList or ModuleDict hang on its owner, as "name.key"
    n1 ==>|"1"| n2                the next one of a Sequential
    n0 -->|"0-2"| n3["3 x Step"]  several that are equal, as in `repr`

Source: the flowchart syntax of Mermaid, mermaid.js.org/syntax/flowchart.html; tried with its parser, version 11.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from msgflow.nn.containers import ModuleDict, ModuleList, Sequential
from msgflow.nn.module import Module

LONGEST_LABEL = 120
_PLAIN = frozenset(" .,:=()+/'-")


def diagram(module: Module) -> str:
    """The tree of a module as the text of a Mermaid flowchart; a module that is shared is drawn once.

    Equal trees give equal texts. No name or text of a module can become Mermaid code.
    """
    if not isinstance(module, Module):
        raise TypeError(f"a diagram is of a Module, not of {type(module).__name__}")
    drawing = _Drawing(module)
    drawing.draw(module)
    return "\n".join(["flowchart TD", *(f"    {line}" for line in drawing.lines)]) + "\n"


class _Drawing:
    def __init__(self, root: Module) -> None:
        self.lines: list[str] = []
        self.nodes: dict[Module, str] = {}
        uses = Counter(child for module in root.modules() for child in module._modules.values())
        self.shared = {root, *(module for module, count in uses.items() if count > 1)}

    def draw(self, module: Module, count: int = 1, edge: str = "") -> str:
        """Draw a module and all below it, if it is not yet there, and the edge to it; returns its node.

        `count` is how many equal ones it stands for.
        """
        new = module not in self.nodes
        node = self.nodes.setdefault(module, f"n{len(self.nodes)}")
        if new:
            extra = module.extra_repr()
            text = f"{type(module).__name__}({extra})" if extra else type(module).__name__
            self.lines.append(f'{node}["{_label(f"{count} x {text}" if count > 1 else text)}"]')
        if edge:
            self.lines.append(f"{edge} {node}")
        before, arrow = node, "-->"
        for name, child, equal in self.children(module) if new else ():
            drawn = self.draw(child, equal, f'{before} {arrow}|"{_label(name)}"|')
            if isinstance(module, Sequential):
                before, arrow = drawn, "==>"
        return node

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


def _label(text: str) -> str:
    """Text for between quotes: whatever Mermaid or HTML could read as more than a letter is written as its number."""
    line = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    if len(line) > LONGEST_LABEL:
        line = f"{line[: LONGEST_LABEL - 3]}..."
    return "".join(mark if mark.isalnum() or mark in _PLAIN else f"#{ord(mark)};" for mark in line) or " "
