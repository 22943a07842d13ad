"""Carrying out a plan: reading what is there now, the steps in their turn, and the results to their tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from msgflow._version_clock import one_version
from msgflow.errors import RecordError
from msgflow.tensor.backends import Array, device_of, on_host
from msgflow.tensor.dtypes import stored_as
from msgflow.tensor.runtime.binding import Bound
from msgflow.tensor.runtime.cuda_graph import OnGpu
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.recording import Forward, Origin

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


_NOTHING = object()


class Executor(Protocol):
    """Where a plan is carried out: OnHost, or OnGpu."""

    def load(self, number: int, array: Array) -> None:
        """Take a value from outside, by its number."""

    def change(self) -> None:
        """Compute what depends on state and constants alone."""

    def run(self, outputs: "Sequence[Tensor]") -> None:
        """Compute the rest, and give the results to their tensors."""


class Launched:
    """A plan at work on what was recorded.

    Everything from outside is read at each run, the state of modules in one version: that of the call that runs it.
    """

    def __init__(self, forward: Forward, plan: Plan, looked_at: Sequence[Origin]) -> None:
        self.plan = plan
        self._origins, self._outputs, self._looked_at = forward.origins, forward.outputs, looked_at
        self._sources = forward.graph.program.sources
        # Of state and constants what was loaded, to see when it changes.
        self._loaded: list[Array] = [_NOTHING] * len(self._origins)
        self._is_stale = True
        self._device = forward.graph.program.device
        self._executor: Executor = (
            OnGpu(forward.graph, plan) if plan.program.library == "cupy" else OnHost(forward.graph, plan)
        )

    def run(self) -> None:
        with one_version():
            arrays = [origin.array() for origin in self._origins]
            for origin in self._looked_at:
                _check_unchanged(origin)
        for number, array in enumerate(arrays):
            if array is not self._loaded[number]:
                self._load(number, array)
        with np.errstate(all="ignore"):  # as while recording: placeholders hold zeros until they are given numbers
            if self._is_stale:
                self._executor.change()
                self._is_stale = False
            self._executor.run(self._outputs)

    def _load(self, number: int, array: Array) -> None:
        origin, source = self._origins[number], self._sources[number]
        is_alike = type(array) is origin.library and array.shape == origin.shape and array.dtype == origin.storage
        if not is_alike or device_of(array) != self._device:
            raise RecordError(
                f"%{number}, a {source.kind}, is now {_described(array)}, and was {source.dtype} {source.shape} on "
                f"{self._device} when it was recorded; record the forward anew, with another Runtime"
            )
        self._executor.load(number, array)
        if source.kind != "placeholder":
            self._loaded[number], self._is_stale = array, True


def _described(array: Array) -> str:
    if array is None:
        return "no tensor at all"
    return f"{stored_as(array.dtype).name} {tuple(array.shape)} on {device_of(array)}"


def _check_unchanged(origin: Origin) -> None:
    array, then = origin.array(), origin.looked_at
    if array is not then and (array is None or not np.array_equal(on_host(array), on_host(then), equal_nan=True)):
        raise RecordError(
            "a tensor whose numbers the forward looked at while it was recorded (by item, to_numpy or if) has others "
            "now, so that the forward may be another one; record it anew, or compute with operations (mt.where)"
        )


class OnHost:
    """On arrays of numpy, or of a library of the bare standard.

    Each output keeps its memory from run to run. Where somebody else has got hold of that (a view, `detach()`, a
    module's state), they keep it, with its numbers, and the output goes on in other memory.
    """

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self._graph, self._plan = graph, plan
        self._bound = Bound(graph, plan)
        self._is_watched = False
        sources = enumerate(graph.program.sources)
        self._placeholders = [number for number, source in sources if source.kind == "placeholder"]

    def load(self, number: int, array: Array) -> None:
        self._bound.registers[number] = array

    def change(self) -> None:
        self._bound.take_turns("change")

    def run(self, outputs: "Sequence[Tensor]") -> None:
        if self._is_watched and self._is_shared(outputs):
            self._bound, self._is_watched = Bound(self._graph, self._plan, self._bound), False
        bound = self._bound
        bound.take_turns("run")
        for number in self._placeholders:
            bound.registers[number] = None
        for tensor, register in zip(outputs, bound.outputs, strict=True):
            if tensor.array is not bound.registers[register]:
                tensor.array = bound.registers[register]
        if self._graph.has_places and not self._is_watched:
            bound.watch()
            self._is_watched = True

    def _is_shared(self, outputs: "Sequence[Tensor]") -> bool:
        registers = self._bound.registers
        given_others = any(
            tensor.array is not registers[register]
            for tensor, register in zip(outputs, self._bound.outputs, strict=True)
        )
        return given_others or self._bound.is_shared()
