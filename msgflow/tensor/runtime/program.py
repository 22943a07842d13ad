"""What a Runtime has recorded, as data that can be saved, compared and shown.

Values are named in the order of their making: "%0", "%1" ... are those that come from outside, then one for the result
of each operation. Beside them stand plain numbers, "inf", "-inf" and "nan", which JSON has not, as text.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from msgflow._frozen import FrozenList, Json
from msgflow.tensor.dtypes import DType, as_dtype

Input: TypeAlias = str | int | float
Kind: TypeAlias = Literal["placeholder", "state", "constant"]
KINDS: tuple[Kind, ...] = ("placeholder", "state", "constant")
WIDE = ":float32"  # after the name of a value of 16-bit floats: its numbers as float32


@dataclass(frozen=True, slots=True)
class Source:
    """A value from outside: a tensor that can be given numbers, a module's state, or one that nobody can change."""

    kind: Kind
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.kind} {self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One operation as it was called, and what it gave."""

    operation: str
    inputs: tuple[Input, ...]
    settings: Mapping[str, Json]
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        given = [*map(str, self.inputs), *(f"{name}={value!r}" for name, value in self.settings.items())]
        return f"{self.operation}({', '.join(given)}) {self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Program:
    """All operations in their order, what goes in, and the values whose numbers are wanted.

    `library` is that of the arrays: "numpy", "cupy" or another of the array API standard.
    """

    library: str
    device: str
    sources: tuple[Source, ...]
    operations: tuple[Recorded, ...]
    outputs: tuple[str, ...]

    def name(self, operation: int) -> str:
        """The value that an operation gives."""
        return f"%{len(self.sources) + operation}"

    def maker(self, value: str) -> int | None:
        """The number of the operation that gives a value; None for one from outside."""
        number = int(value[1:]) - len(self.sources)
        return number if number >= 0 else None

    def about(self, value: str) -> Source | Recorded:
        """What is known of a value: its shape and its type."""
        maker = self.maker(value)
        return self.sources[int(value[1:])] if maker is None else self.operations[maker]


def is_value(given: Input | None) -> bool:
    return isinstance(given, str) and given.startswith("%")


def values(inputs: Iterable[Input | None]) -> list[str]:
    """The values among some inputs, each once."""
    return list(dict.fromkeys(given for given in inputs if isinstance(given, str) and is_value(given)))


def number(given: Any) -> Input:
    """A Python number as an input: JSON has it, or it is text."""
    if isinstance(given, bool | int):
        return given
    return float(given) if math.isfinite(given) else str(float(given))


def described(setting: Any) -> Json:
    """An operation's setting as JSON, to be shown and compared; never read back."""
    if setting is None or isinstance(setting, str):
        return setting
    if isinstance(setting, bool | int | float):
        return number(setting)
    if isinstance(setting, DType):
        return setting.name
    if isinstance(setting, tuple | list):
        return FrozenList(described(item) for item in setting)
    return f"<{type(setting).__name__}>"


def size_of(shape: tuple[int, ...], dtype: str) -> int:
    """Bytes."""
    return math.prod(shape) * as_dtype(dtype).itemsize
