"""`repr` of a module tree, as in PyTorch, with runs of equal children folded: `(0-2): 3 x Step()`."""

from itertools import groupby
from reprlib import recursive_repr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from msgflow.nn.module import Module


@recursive_repr("...")  # of a module that is below itself
def tree_repr(module: "Module") -> str:
    name, extra = type(module).__name__, module.extra_repr()
    children = [f"({label}): {text}" for label, text in _folded(module)]
    if not children:
        return f"{name}({extra})"
    lines = [extra, *children] if extra else children
    return f"{name}(\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n)"


def _folded(module: "Module") -> list[tuple[str, str]]:
    shown = [(name, repr(child)) for name, child in module._modules.items()]
    folded = []
    # Only numbered children fold: in a run of named ones the names matter.
    for (text, numbered), run in groupby(shown, key=lambda item: (item[1], item[0].isdecimal())):
        names = [name for name, _ in run]
        if numbered and len(names) > 1:
            folded.append((f"{names[0]}-{names[-1]}", f"{len(names)} x {text}"))
        else:
            folded += [(name, text) for name in names]
    return folded
