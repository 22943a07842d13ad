"""Where the result of each step goes: into a buffer, the memory of its input, or an array that the library makes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from msgflow.tensor.backends import Array
from msgflow.tensor.dtypes import as_dtype
from msgflow.tensor.runtime.buffers import Need, assigned
from msgflow.tensor.runtime.fusing import POINTWISE, ROWWISE
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.program import size_of, values
from msgflow.tensor.runtime.steps import Place, PlannedStep

Kind: TypeAlias = Literal["buffer", "view", "new"]


def placed(graph: Graph, steps: Sequence[PlannedStep]) -> tuple[tuple[PlannedStep, ...], tuple[int, ...]]:
    """The steps with their places, and the bytes of each buffer."""
    kinds = _best_kinds(graph, steps)
    buffers, sizes = assigned(needs(graph, steps, kinds))
    return tuple(
        replace(
            step,
            place=_place(kinds[step.output], buffers.get(step.output)),
            scratch=buffers.get(scratch_of(step.output)),
        )
        for step in steps
    ), sizes


def _place(kind: Kind, buffer: int | None) -> Place:
    if kind == "buffer":
        assert buffer is not None  # every one of them needs bytes
        return buffer
    return kind


def scratch_of(value: str) -> str:
    """The key of the float32 numbers that a 16-bit result is rounded from."""
    return f"scratch of {value}"


# --- which kinds of places there are for a step ----------------------------------------------------------------------


def kinds_for(graph: Graph, step: PlannedStep) -> tuple[Kind, ...]:
    """The kinds of places that a result may have. Those of outputs stay where they are from run to run."""
    if not graph.has_places:
        return ("new",)
    if is_viewable(graph, step):
        return ("view", "buffer") if step.output in graph.outputs else ("view", "buffer", "new")
    if step.output in graph.outputs:
        return ("buffer",)
    if step.when == "run" and (step.operation == "widen" or _writes(graph, step)):
        return ("buffer", "new")
    return ("new",)


def is_viewable(graph: Graph, step: PlannedStep) -> bool:
    """Whether it moves the numbers of one array, and perhaps only looks at them in another way."""
    if len(step.fuses) != 1 or len(step.inputs) != 1:
        return False
    (number,) = step.fuses
    operation = graph.operations[number]
    return operation.moves and graph.is_direct(number) and (graph.views[number] or operation.name == "reshape")


def _writes(graph: Graph, step: PlannedStep) -> bool:
    """Whether its result is best computed into a buffer, by the library or a part at a time."""
    computes = graph.is_direct(step.fuses[0]) or graph.is_wide(step.fuses[0])
    names = {graph.operations[member].name for member in step.fuses}
    in_parts = not names.isdisjoint(POINTWISE | ROWWISE)
    return computes and (in_parts or any(graph.operations[member].in_place for member in step.fuses))


def _best_kinds(graph: Graph, steps: Iterable[PlannedStep]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    layouts: dict[str, Callable[[], Array]] = {}  # of those in buffers, how to have an array with their strides
    for step in steps:
        best = kinds_for(graph, step)[0]
        (given, *_) = step.inputs
        if best == "view" and step.when == "run":
            layout = _layout(graph, step, layouts.get(str(given)))
            if layout is not None:
                layouts[step.output] = layout
            elif given in layouts or step.output in graph.outputs:
                best = "buffer"
        if best == "buffer":
            layouts[step.output] = partial(np.empty, step.shape, as_dtype(step.dtype).storage)
        kinds[step.output] = best
    return kinds


def _layout(graph: Graph, step: PlannedStep, given: Callable[[], Array] | None) -> Callable[[], Array] | None:
    """The same for the view that a step gives of one; None where it would be a copy, or there is no buffer."""
    if given is None:
        return None
    (number,) = step.fuses
    array = given()  # the memory of which nobody touches, so that it costs nothing
    seen = graph.operations[number].compute(np, array, **graph.settings[number])
    return (lambda: seen) if np.may_share_memory(seen, array) else None


# --- how long a result is needed -------------------------------------------------------------------------------------


def needs(graph: Graph, steps: Sequence[PlannedStep], kinds: dict[str, Kind]) -> list[Need]:
    """What has to be in a buffer, and how long: until the last step that reads it, or a view of it."""
    owners = owners_of(steps, kinds)
    last = {owners[step.output]: number for number, step in enumerate(steps) if step.output in owners}
    for number, step in enumerate(steps):
        last |= {owners[value]: number for value in values(step.inputs) if value in owners}
    kept = {owners[value] for value in graph.outputs if value in owners}
    found = []
    for number, step in enumerate(steps):
        if kinds[step.output] != "buffer":
            continue
        over = tuple(value for value in _overwritable(graph, step) if owners.get(value) == value not in kept)
        nbytes = size_of(step.shape, step.dtype)
        if _needs_scratch(graph, step):
            found.append(Need(scratch_of(step.output), size_of(step.shape, "float32"), number, number, over))
            over = ()
        found.append(Need(step.output, nbytes, number, last[step.output], over, step.output in kept))
    return found


def owners_of(steps: Iterable[PlannedStep], kinds: dict[str, Kind]) -> dict[str, str]:
    """The value whose buffer each value is in: itself, or the one that it is a view of."""
    owners: dict[str, str] = {}
    for step in steps:
        if kinds[step.output] == "buffer":
            owners[step.output] = step.output
        elif kinds[step.output] == "view" and step.inputs[0] in owners:
            owners[step.output] = owners[str(step.inputs[0])]
    return owners


def _needs_scratch(graph: Graph, step: PlannedStep) -> bool:
    is_half = as_dtype(step.dtype).is_half
    return is_half and bool(step.fuses) and graph.is_wide(step.fuses[0]) and _writes(graph, step)


def _overwritable(graph: Graph, step: PlannedStep) -> list[str]:
    """Inputs that the result may be written over, where nobody needs them any more.

    They have its shape and the type that it is computed in, and only the first operation reads them, at each place
    before it writes there.
    """
    if not step.fuses or graph.operations[step.fuses[0]].name not in POINTWISE | ROWWISE:
        return []
    inside = {graph.program.name(member) for member in step.fuses}
    first, *others = (graph.reads(member, inside) for member in step.fuses)
    later = {given for reads in others for given in reads}
    wanted = (step.shape, graph.computed_as(step.fuses[-1]))
    return [value for value in values(first) if value not in later and graph.kind_of(value) == wanted]
