"""A plan with its memory: buffers, registers that hold the arrays, and the acts that work on them."""

import sys
from typing import NamedTuple

import numpy as np

from msgflow.errors import RecordError, TensorError
from msgflow.tensor.backends import Array, Namespace, namespace_for
from msgflow.tensor.dtypes import as_dtype
from msgflow.tensor.runtime.acts import Act, Acts
from msgflow.tensor.runtime.chain import Registers
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.placing import Kind, owners_of
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.program import size_of, values
from msgflow.tensor.runtime.steps import PlannedStep, When

_ALIGNED = 64  # bytes: a cache line, and the widest vector register


class Turn(NamedTuple):
    """A step, what it does, and the registers that nobody reads after it."""

    step: PlannedStep
    act: Act
    dead: list[int]


class Bound:
    """The turns of a plan: `turns["change"]` where the state has changed, `turns["run"]` in every run.

    The first registers are for the values from outside, in their order; `outputs` are those of the results. An earlier
    binding lends the buffers that no output is in, and what it has computed from the state.
    """

    def __init__(self, graph: Graph, plan: Plan, earlier: "Bound | None" = None) -> None:
        self._plan = plan
        self._is_numpy = graph.program.library == "numpy"
        self._xp: Namespace = namespace_for(graph.program.device) if graph.has_places else None
        names = [*(f"%{number}" for number in range(len(graph.program.sources))), *(step.output for step in plan.steps)]
        self._register = {name: number for number, name in enumerate(names)}
        self.outputs = [self._register[value] for value in graph.program.outputs]
        self.registers: Registers = [None] * len(names)
        self._kept = self._kept_buffers(graph)
        self._buffers: list[Array] = [
            self._bytes(size) if earlier is None or number in self._kept else earlier._buffers[number]
            for number, size in enumerate(plan.buffers)
        ]
        self.turns = self._bound(graph)
        if earlier is not None:
            self._take_over(earlier, graph)
        self._counts: list[int] = []

    def _kept_buffers(self, graph: Graph) -> set[int]:
        """The buffers that outputs are in."""
        kinds: dict[str, Kind] = {
            step.output: "buffer" if isinstance(step.place, int) else step.place for step in self._plan.steps
        }
        owners = owners_of(self._plan.steps, kinds)
        kept = {owners.get(value) for value in graph.program.outputs}
        return {step.place for step in self._plan.steps if step.output in kept and isinstance(step.place, int)}

    def _bytes(self, size: int) -> Array:
        """Memory as bytes, which begins where a cache line does."""
        if not self._is_numpy:
            return self._xp.empty(size, "uint8")
        memory = np.empty(size + _ALIGNED, np.uint8)
        start = -memory.ctypes.data % _ALIGNED
        return memory[start : start + size]

    def _in_buffer(self, buffer: int | None, shape: tuple[int, ...], dtype: str) -> Array:
        if buffer is None:
            return None
        memory = self._buffers[buffer][: size_of(shape, dtype)]
        return memory.view(as_dtype(dtype).storage).reshape(shape)

    def _bound(self, graph: Graph) -> dict[When, list[Turn]]:
        steps, acts = self._plan.steps, Acts(graph, self._xp, self._register, self.registers)
        for step in steps:
            place = step.place if isinstance(step.place, int) else None
            self.registers[self._register[step.output]] = self._in_buffer(place, step.shape, step.dtype)
        last = {value: number for number, step in enumerate(steps) for value in values(step.inputs)}
        turns: dict[When, list[Turn]] = {"change": [], "run": []}
        when = {step.output: step.when for step in steps}
        for number, step in enumerate(steps):
            act = acts.act(step, self._in_buffer(step.scratch, step.shape, "float32"))
            if act is not None:
                dead = [
                    self._register[value]
                    for value in values(step.inputs)
                    if last[value] == number and when.get(value) == step.when and self._is_new(value)
                ]
                turns[step.when].append(Turn(step, act, dead))
        return turns

    def _is_new(self, value: str) -> bool:
        """Whether its array is another one each time, and not a result that is to stay."""
        register = self._register[value]
        return self.registers[register] is None and register not in self.outputs

    def _take_over(self, earlier: "Bound", graph: Graph) -> None:
        """What came from outside, and what was computed from the state."""
        changing = [self._register[step.output] for step in self._plan.steps if step.when == "change"]
        for register in (*range(len(graph.program.sources)), *changing):
            self.registers[register] = earlier.registers[register]

    def take_turns(self, when: When) -> None:
        """Carry out the steps of a run, or those of a change of the state."""
        registers = self.registers
        for step, act, dead in self.turns[when]:
            try:
                act(registers)
            except (TensorError, ValueError, IndexError, TypeError) as error:
                raise RecordError(f"{step.output} = {step.operation}(...): {error}") from error
            for register in dead:
                registers[register] = None

    # --- outputs that somebody else has got hold of ----------------------------------------------------------------

    def watch(self) -> None:
        """Remember who holds the memory of the outputs: the tensors and nobody else."""
        self._counts = self._holders()

    def is_shared(self) -> bool:
        """Whether somebody has got hold of an output's memory since: another tensor, a view, a module's state."""
        return any(now > then for now, then in zip(self._holders(), self._counts, strict=False))

    def _holders(self) -> list[int]:
        arrays = [self.registers[register] for register in self.outputs]
        memory = [array if array.base is None else array.base for array in arrays]
        return [sys.getrefcount(array) for array in (*arrays, *memory)]
