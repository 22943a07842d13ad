"""What a Runtime has recorded, with the operations themselves, and what planning asks about each."""

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgflow.tensor.dtypes import as_dtype
from msgflow.tensor.operations import Operation
from msgflow.tensor.runtime.program import WIDE, Input, Program, is_value, values

# Types that numpy computes as tensors do. Of 8-bit integers and bool it makes types that tensors do not have.
_PLAIN = frozenset({"float32", "float64", "int32", "int64"})
DRAWING = frozenset({"draw"})  # which give other numbers each time


@dataclass(frozen=True, slots=True)
class Graph:
    """A program and, for each of its operations, what computes it.

    `views` says which of them gave a view of their input when they were recorded. `running` are the values that every
    run makes anew: the outputs, and what depends on a placeholder, on chance or on an output. The others change with
    the state alone.
    """

    program: Program
    operations: tuple[Operation, ...]
    settings: tuple[Mapping[str, Any], ...]
    views: tuple[bool, ...]
    outputs: frozenset[str] = field(init=False)
    users: Mapping[str, tuple[int, ...]] = field(init=False)
    live: frozenset[int] = field(init=False)
    running: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", frozenset(self.program.outputs))
        object.__setattr__(self, "live", _live(self.program))
        object.__setattr__(self, "users", _users(self.program, self.live))
        object.__setattr__(self, "running", _running(self.program))

    @property
    def has_places(self) -> bool:
        """Whether results can be written into arrays that are there already; the bare standard cannot."""
        return self.program.library in ("numpy", "cupy")

    def is_direct(self, number: int) -> bool:
        """Whether the library computes it from the arrays as they are."""
        recorded, operation = self.program.operations[number], self.operations[number]
        typed = recorded.inputs[: operation.typed_by]
        dtypes = {self.program.about(value).dtype for value in values(typed)}
        if operation.moves and len(dtypes) == 1 and all(map(is_value, typed)):
            return self.has_places
        return self.has_places and not any(map(self._is_half, recorded.inputs)) and dtypes <= _PLAIN

    def is_wide(self, number: int) -> bool:
        """Whether it computes in float32 with what is stored as 16-bit floats."""
        recorded, operation = self.program.operations[number], self.operations[number]
        is_half = any(map(self._is_half, recorded.inputs))
        dtypes = {self.program.about(value).dtype for value in values(recorded.inputs) if not self._is_half(value)}
        return self.has_places and not operation.moves and is_half and dtypes <= _PLAIN

    def reads(self, number: int, inside: Container[str] = ()) -> tuple[Input | None, ...]:
        """What an operation reads: 16-bit floats as float32 where it computes; None for what is made inside a step."""
        wide = self.is_wide(number)
        return tuple(
            None if given in inside else f"{given}{WIDE}" if wide and self._is_half(given) else given
            for given in self.program.operations[number].inputs
        )

    def kind_of(self, value: str) -> tuple[tuple[int, ...], str]:
        """The shape and the type of a value."""
        about = self.program.about(value.removesuffix(WIDE))
        return about.shape, "float32" if value.endswith(WIDE) else about.dtype

    def _is_half(self, given: Input) -> bool:
        return is_value(given) and as_dtype(self.program.about(str(given)).dtype).is_half

    def kept_as(self, number: int) -> str:
        """The value that a step leaves: the result, or its float32 numbers, where only such are read of it.

        Then they are never rounded to 16 bits, and so nearer to the exact ones than those of the operation by itself.
        """
        value = self.program.name(number)
        users = self.users.get(value, ())
        computed = self.is_wide(number) and self._is_half(value) and value not in self.outputs
        return f"{value}{WIDE}" if computed and all(map(self.is_wide, users)) else value

    def computed_as(self, number: int) -> str:
        """The type that an operation computes in, before its result is rounded to 16 bits."""
        dtype = self.program.operations[number].dtype
        return "float32" if self.is_wide(number) and as_dtype(dtype).is_half else dtype


def _live(program: Program) -> frozenset[int]:
    """The operations that an output is made from; the others need not be done."""
    live: set[int] = set()
    waiting = list(program.outputs)
    while waiting:
        maker = program.maker(waiting.pop())
        if maker is not None and maker not in live:
            live.add(maker)
            waiting += values(program.operations[maker].inputs)
    return frozenset(live)


def _users(program: Program, live: frozenset[int]) -> dict[str, tuple[int, ...]]:
    users: dict[str, list[int]] = defaultdict(list)
    for number in sorted(live):
        for value in values(program.operations[number].inputs):
            users[value].append(number)
    return {value: tuple(numbers) for value, numbers in users.items()}


def _running(program: Program) -> frozenset[str]:
    running = {f"%{number}" for number, source in enumerate(program.sources) if source.kind == "placeholder"}
    running.update(program.outputs)
    for number, recorded in enumerate(program.operations):
        if recorded.operation in DRAWING or not running.isdisjoint(values(recorded.inputs)):
            running.add(program.name(number))
    return frozenset(running)
