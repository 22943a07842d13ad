"""The steps of a plan as functions: each reads registers and leaves its result in one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from msgflow.tensor.backends import Array, Namespace, narrowed, widened
from msgflow.tensor.dtypes import as_dtype, bfloat16
from msgflow.tensor.operations import HALF, OTHER, computed
from msgflow.tensor.runtime.chain import Chain, Link, Registers
from msgflow.tensor.runtime.fusing import goes_by_rows
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.placing import is_viewable
from msgflow.tensor.runtime.program import Input, is_value, values
from msgflow.tensor.runtime.steps import PlannedStep

Act: TypeAlias = Callable[[Registers], None]


@dataclass(frozen=True, slots=True)
class Acts:
    """What the acts of one binding have in common.

    `register` says where each value is. `registers` has the arrays that stay: those in buffers, to which views and
    numbers are added.
    """

    graph: Graph
    xp: Namespace
    register: Mapping[str, int]
    registers: Registers

    def act(self, step: PlannedStep, scratch: Array) -> Act | None:
        """What a step does when it is its turn; None for a view of what stays, which is there for good."""
        place = self.registers[self.register[step.output]]
        if not step.fuses:
            return self._widening(step, place)
        first = step.fuses[0]
        if is_viewable(self.graph, step):
            return self._moving(step, place)
        if not self.graph.is_direct(first) and not self.graph.is_wide(first):
            return self._computing_by_itself(step, place)
        links = self._links(step)
        if place is None:
            return self._computing_anew(step, links)
        workspace, rounded = (place, None) if scratch is None else (scratch, place)
        return Chain(self.xp, links, workspace, rounded, self.registers, in_parts=self.xp is np)

    def _widening(self, step: PlannedStep, place: Array) -> Act:
        given, output, xp = self.register[str(step.inputs[0])], self.register[step.output], self.xp
        is_bfloat16 = self.graph.kind_of(str(step.inputs[0]))[1] == bfloat16.name
        bits = place.view("uint32") if place is not None and is_bfloat16 else place

        def anew(registers: Registers) -> None:
            registers[output] = widened(registers[given])

        def in_place(registers: Registers) -> None:
            xp.copyto(bits, registers[given])
            if is_bfloat16:
                xp.left_shift(bits, 16, out=bits)

        return anew if place is None else in_place

    def _moving(self, step: PlannedStep, place: Array) -> Act | None:
        (number,) = step.fuses
        operation, settings, xp = self.graph.operations[number], self.graph.settings[number], self.xp
        given, output = self.register[str(step.inputs[0])], self.register[step.output]
        base = self.registers[given]
        if place is None and base is not None:
            seen = operation.compute(xp, base, **settings)
            if xp.may_share_memory(seen, base):
                self.registers[output] = seen
                return None

        def looking(registers: Registers) -> None:
            registers[output] = operation.compute(xp, registers[given], **settings)

        def copying(registers: Registers) -> None:
            xp.copyto(place, operation.compute(xp, registers[given], **settings))

        def reshaping(registers: Registers) -> None:
            array = registers[given]
            xp.copyto(place.reshape(array.shape), array)  # which reshape would copy first

        return looking if place is None else reshaping if operation.name == "reshape" else copying

    def _computing_by_itself(self, step: PlannedStep, place: Array) -> Act:
        """One operation, the way it is carried out without a Runtime."""
        (number,) = step.fuses
        operation, settings, xp = self.graph.operations[number], dict(self.graph.settings[number]), self.xp
        reads, output = [self._read(given) for given in step.inputs], self.register[step.output]
        halves = any(as_dtype(self.graph.kind_of(given)[1]).is_half for given in values(step.inputs))
        tags = (HALF if halves else 0) | (0 if xp is np else OTHER)

        def compute(registers: Registers) -> None:
            array = computed(operation, [registers[read] for read in reads], settings, tags)
            if place is None:
                registers[output] = array
            else:
                xp.copyto(place, array)

        return compute

    def _computing_anew(self, step: PlannedStep, links: list[Link]) -> Act:
        output, dtype = self.register[step.output], as_dtype(step.dtype)
        rounds = dtype.is_half and self.graph.is_wide(step.fuses[0])

        def compute(registers: Registers) -> None:
            current = None
            for link in links:
                arrays = [current if read is None else registers[read] for read in link.reads]
                current = link.compute(*arrays)
            if isinstance(current, np.generic):  # as numpy's reductions give it
                current = np.asarray(current)
            registers[output] = narrowed(current, dtype) if rounds else current

        return compute

    def _links(self, step: PlannedStep) -> list[Link]:
        inside = {self.graph.program.name(member) for member in step.fuses}
        links = []
        for member in step.fuses:
            operation, given = self.graph.operations[member], self.graph.reads(member, inside)
            links.append(
                Link(
                    self._function(member),
                    tuple(None if one is None else self._read(one) for one in given),
                    tuple(self._shape_of(one) for one in given),
                    operation.in_place,
                    goes_by_rows(self.graph, member),
                )
            )
        return links

    def _function(self, number: int) -> Callable[..., Array]:
        """The operation as a function of arrays; numpy's own, where there is one that takes `out=`."""
        operation, settings = self.graph.operations[number], self.graph.settings[number]
        by_numpy = operation.ufunc
        is_numpys = isinstance(by_numpy, np.ufunc) or isinstance(getattr(by_numpy, "__self__", None), np.ufunc)
        if by_numpy is not None and is_numpys and self.xp is np:
            return partial(by_numpy, **settings) if settings else by_numpy
        return partial(operation.compute, self.xp, **settings)

    def _shape_of(self, given: Input | None) -> tuple[int, ...]:
        return self.graph.kind_of(given)[0] if isinstance(given, str) and is_value(given) else ()

    def _read(self, given: Input) -> int:
        """The register of an input; a number gets one of its own."""
        if isinstance(given, str) and is_value(given):
            return self.register[given]
        self.registers.append(float(given) if isinstance(given, str) else given)
        return len(self.registers) - 1
