"""Carrying out a plan on a GPU: its steps are captured as CUDA graphs, each of which one call starts again.

A graph reads and writes the addresses of its capture. So everything from outside is copied into arrays that stay, all
memory comes from a pool that nobody else takes from, and results are copied out of the graph's arrays.
Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide (CUDA graphs), and cupy.cuda.Stream.begin_capture.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgflow.errors import RecordError
from msgflow.tensor.backends import Array, index_of
from msgflow.tensor.runtime.binding import Bound
from msgflow.tensor.runtime.graph import DRAWING, Graph
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.steps import When

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


class OnGpu:
    """On arrays of cupy, all of one device. The work is queued: who reads the results waits for it, as always there."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        import cupy

        if not DRAWING.isdisjoint(step.operation for step in plan.steps):
            raise RecordError(
                "random numbers are drawn on the processor, so a CUDA graph has none; call eval() on the module before "
                "it is recorded"
            )
        self._cupy = cupy
        self._device = cupy.cuda.Device(index_of(graph.program.device))
        self._pool = cupy.cuda.MemoryPool()
        with self._device, cupy.cuda.using_allocator(self._pool.malloc):
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._bound = Bound(graph, plan)
        self._graphs: dict[When, Any] = {}
        self._given: list[Array] = [None] * len(self._bound.outputs)
        self._holders = [0] * len(self._bound.outputs)

    def load(self, number: int, array: Array) -> None:
        registers = self._bound.registers
        with self._device, self._cupy.cuda.using_allocator(self._pool.malloc):
            if registers[number] is None:
                registers[number] = self._cupy.empty(array.shape, array.dtype)
            self._cupy.copyto(registers[number], array)

    def change(self) -> None:
        self._start("change")

    def run(self, outputs: "Sequence[Tensor]") -> None:
        self._start("run")
        with self._device:
            for place, (tensor, register) in enumerate(zip(outputs, self._bound.outputs, strict=True)):
                self._give(tensor, self._bound.registers[register], place)

    def _give(self, tensor: "Tensor", numbers: Array, place: int) -> None:
        """Copy a result to its tensor: into the array of the last run, unless somebody else holds that by now."""
        array = tensor.array
        if array is not self._given[place] or sys.getrefcount(array) > self._holders[place]:
            array = tensor.array = self._given[place] = self._cupy.empty_like(numbers)
            self._holders[place] = sys.getrefcount(array)
        self._cupy.copyto(array, numbers)

    def _start(self, when: When) -> None:
        """Start a graph, between what the caller's stream has before it and what comes after it."""
        if not self._bound.turns[when]:
            return
        with self._device:
            callers = self._cupy.cuda.get_current_stream()
            self._stream.wait_event(callers.record())
            if when not in self._graphs:
                self._graphs[when] = self._captured(when)
            self._graphs[when].launch(self._stream)
            callers.wait_event(self._stream.record())

    def _captured(self, when: When) -> Any:
        with self._stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            # Once as it is: kernels are compiled, handles made and the pool filled, none of which a capture may do.
            self._bound.take_turns(when)
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                self._bound.take_turns(when)
            finally:
                graph = self._ended_capture()
        return graph

    def _ended_capture(self) -> Any:
        try:
            return self._stream.end_capture()
        except RuntimeError as error:
            raise RecordError(
                f"this forward cannot be captured as a CUDA graph: {error}. An operation in it waits for numbers of "
                "the GPU, as an index that is a mask does; use mt.where"
            ) from error
