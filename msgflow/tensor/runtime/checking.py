"""Whether a plan carries out what was recorded: all of it, in an order that works, with no result over another in use.

This is what makes a plan from a file safe to use, and it knows nothing of how plans are made.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NoReturn

from msgflow.errors import RecordError
from msgflow.tensor.runtime.buffers import Need
from msgflow.tensor.runtime.fusing import Group, joins
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.placing import Kind, kinds_for, needs, owners_of, scratch_of
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.planning import ordered
from msgflow.tensor.runtime.program import Program, values


def check(plan: Plan, graph: Graph) -> None:
    """Raises RecordError, which says what does not fit and where."""
    _same_program(plan.program, graph.program)
    _steps_carry_it_out(plan, graph)
    kinds = _kinds(plan, graph)
    _no_two_in_one_place(plan, needs(graph, plan.steps, kinds))


def _refuse(what: str) -> NoReturn:
    raise RecordError(f"the plan does not fit what was recorded: {what}; launch() without a plan makes one that does")


def _same_program(planned: Program, recorded: Program) -> None:
    if (planned.library, planned.device) != (recorded.library, recorded.device):
        _refuse(f"it is for {planned.library} on {planned.device}, not {recorded.library} on {recorded.device}")
    for what, theirs, ours in (
        ("value from outside", planned.sources, recorded.sources),
        ("operation", planned.operations, recorded.operations),
        ("output", planned.outputs, recorded.outputs),
    ):
        for number, (one, other) in enumerate(zip_longest(theirs, ours)):
            if repr(one) != repr(other):  # 1, 1.0 and True are equal, and give results of different types
                _refuse(f"{what} {number} is {other or 'not there'}, and in the plan {one or 'not there'}")


def _steps_carry_it_out(plan: Plan, graph: Graph) -> None:
    groups = [step.fuses for step in plan.steps if step.fuses]
    _all_once(groups, graph)
    there = {f"%{number}" for number in range(len(graph.program.sources))}
    for number, (step, wanted) in enumerate(zip_longest(plan.steps, ordered(graph, groups))):
        if step is None or wanted is None or repr(replace(step, place="new", scratch=None)) != repr(wanted):
            _refuse(
                f"step {number} is '{step or 'nothing'}', and should be '{wanted or 'nothing'}' wherever its result is"
            )
        if not there.issuperset(values(step.inputs)):
            _refuse(f"step {number} reads what is not there yet: '{step}'")
        there.add(step.output)


def _all_once(groups: Sequence[Group], graph: Graph) -> None:
    """Whether the groups are what may be fused, and all operations that the outputs need."""
    done = [member for group in groups for member in group]
    if len(set(done)) != len(done):
        _refuse("an operation is carried out twice")
    if set(done) != graph.live:
        _refuse(f"it carries out the operations {sorted(done)}, and the outputs need {sorted(graph.live)}")
    for group in groups:
        for length in range(1, len(group)):
            if not joins(graph, group[:length], group[length]):
                _refuse(f"operation {group[length]} cannot be fused to the end of {list(group[:length])}")


def _kinds(plan: Plan, graph: Graph) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for number, step in enumerate(plan.steps):
        kind: Kind = "buffer" if isinstance(step.place, int) else step.place
        if kind not in kinds_for(graph, step):
            _refuse(f"the result of step {number} cannot be in {step.where}: '{step}'")
        kinds[step.output] = kind
    outside = graph.outputs - set(owners_of(plan.steps, kinds))
    if outside and graph.has_places:
        _refuse(f"the output {min(outside)} is a view of what is not in a buffer")
    return kinds


def _no_two_in_one_place(plan: Plan, needed: Sequence[Need]) -> None:
    places = {step.output: step.place for step in plan.steps if isinstance(step.place, int)}
    places |= {scratch_of(step.output): step.scratch for step in plan.steps if step.scratch is not None}
    if set(places) != {need.key for need in needed}:
        _refuse("a result of 16 bits has a scratch buffer, and no other has one")
    there: dict[int, Need] = {}
    sizes = dict.fromkeys(range(len(plan.buffers)), 0)
    for need in needed:
        buffer = places[need.key]
        before = there.get(buffer)
        if before and (before.kept or need.kept or not _makes_place(before, need)):
            _refuse(f"in buffer {buffer}, {need.key} would overwrite {before.key}, which is still needed")
        there[buffer] = need
        sizes[buffer] = max(sizes.get(buffer, 0), need.nbytes)
    if sizes != dict(enumerate(plan.buffers)):
        _refuse(f"its buffers have {list(plan.buffers)} bytes, and need {list(sizes.values())}")


def _makes_place(before: Need, need: Need) -> bool:
    return before.last < need.first or (before.last == need.first and before.key in need.over)
