"""From a recorded program to the steps that carry it out: what is done, and in which order."""

from collections.abc import Iterable

from msgflow.tensor.runtime.fusing import Group, fused
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.placing import placed
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.program import WIDE, values
from msgflow.tensor.runtime.steps import PlannedStep, When


def planned(graph: Graph) -> Plan:
    """The plan of what was recorded; of the same program always the same one."""
    steps, buffers = placed(graph, ordered(graph, fused(graph)))
    return Plan(program=graph.program, steps=steps, buffers=buffers)


def ordered(graph: Graph, groups: Iterable[Group]) -> list[PlannedStep]:
    """The steps of these groups, first those that only a change of the state calls for; all "new" as yet."""
    steps: list[PlannedStep] = []
    wide: set[str] = set()
    for step in sorted((_step(graph, group) for group in groups), key=_in_runs):
        for given in values(step.inputs):
            if given.endswith(WIDE) and given not in wide:
                wide.add(given)
                steps.append(_widening(graph, given))
        wide.add(step.output)
        steps.append(step)
    return sorted(steps, key=_in_runs)


def _in_runs(step: PlannedStep) -> bool:
    return step.when == "run"


def _step(graph: Graph, group: Group) -> PlannedStep:
    output = graph.kept_as(group[-1])
    shape, dtype = graph.kind_of(output)
    inside = {graph.program.name(member) for member in group}
    return PlannedStep(
        operation="+".join(_label(graph, group, member) for member in group),
        inputs=tuple(given for member in group for given in graph.reads(member, inside) if given is not None),
        output=output,
        shape=shape,
        dtype=dtype,
        fuses=group,
        when=_when(graph, graph.program.name(group[-1])),
        place="new",
    )


def _widening(graph: Graph, wide: str) -> PlannedStep:
    value = wide.removesuffix(WIDE)
    (shape, _), when = graph.kind_of(value), _when(graph, value)
    return PlannedStep(
        operation="widen", inputs=(value,), output=wide, shape=shape, dtype="float32", fuses=(), when=when, place="new"
    )


def _when(graph: Graph, value: str) -> When:
    return "run" if value in graph.running else "change"


def _label(graph: Graph, group: Group, member: int) -> str:
    """The operation's name; a sum after a matrix product is its bias."""
    recorded = graph.program.operations[member]
    position = group.index(member)
    after_product = position and graph.program.operations[group[position - 1]].operation == "matmul"
    return "bias" if after_product and recorded.operation == "add" else recorded.operation
