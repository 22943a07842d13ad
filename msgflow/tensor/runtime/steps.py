"""What a plan consists of."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from msgflow.tensor.runtime.program import Input

When: TypeAlias = Literal["run", "change"]
Place: TypeAlias = int | Literal["view", "new"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One thing that is done, and where its result is.

    `fuses` are the recorded operations that it carries out, by number. `when` is "change" for what depends on state
    and constants alone: it is done in the first run, and again when the state has changed. `place` is the number of a
    buffer, "view" for the memory of its input, or "new" for an array that the library makes. `scratch` is a buffer for
    float32 numbers that are rounded to a result of 16 bits.
    """

    operation: str
    inputs: tuple[Input, ...]
    output: str
    shape: tuple[int, ...]
    dtype: str
    fuses: tuple[int, ...]
    when: When
    place: Place
    scratch: int | None = None

    @property
    def where(self) -> str:
        """Its place in words."""
        place = f"buffer {self.place}" if isinstance(self.place, int) else self.place
        return place if self.scratch is None else f"{place} by {self.scratch}"

    def __str__(self) -> str:
        given = ", ".join(map(str, self.inputs))
        fuses = f", fuses {', '.join(map(str, self.fuses))}" if self.fuses else ""
        return (
            f"{self.output} = {self.operation}({given}) {self.dtype} {list(self.shape)} in {self.where}, "
            f"every {self.when}{fuses}"
        )
