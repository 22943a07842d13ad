"""`repr` of a module tree, as in PyTorch, with runs of equal children folded: `(0-2): 3 x Step()`."""

from itertools import groupby
from typing import TYPE_CHECKING

from msgflow._printable import printable

if TYPE_CHECKING:
    from msgflow.nn.module import Module


def tree_repr(module: "Module", above: frozenset["Module"] = frozenset()) -> str:
    if module in above:  # it is below itself
        return "..."
    name, extra, within = type(module).__name__, module.extra_repr(), above | {module}
    shown = []
    for child_name, child in tuple(module._modules.items()):
        # Without a call of repr(), which would take another two of the frames that Python allows for deep trees.
        is_plain = type(child).__repr__ is type(module).__repr__ and hasattr(child, "_modules")
        shown.append((printable(child_name), tree_repr(child, within) if is_plain else repr(child)))
    if not shown:
        return f"{name}({extra})"
    children = [f"({label}): {text}" for label, text in _folded(shown)]
    lines = [extra, *children] if extra else children
    return f"{name}(\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n)"


def _folded(shown: list[tuple[str, str]]) -> list[tuple[str, str]]:
    folded = []
    # Only numbered children fold: in a run of named ones the names matter.
    for (text, numbered), run in groupby(shown, key=lambda item: (item[1], item[0].isdecimal())):
        names = [name for name, _ in run]
        if numbered and len(names) > 1:
            folded.append((f"{names[0]}-{names[-1]}", f"{len(names)} x {text}"))
        else:
            folded += [(name, text) for name in names]
    return folded
