"""Plan: how a recorded program is carried out, to be read by people, compared, saved and used again."""

import os
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Self
from uuid import uuid4

from msgflow.tensor.runtime.plan_file import read, written
from msgflow.tensor.runtime.program import Program
from msgflow.tensor.runtime.steps import PlannedStep

_HEADS = ("result", "operation", "inputs", "shape", "dtype", "place", "every", "of recorded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a Runtime does, step by step, and the bytes of each buffer; `print(plan)` shows a table.

    The text of `to_json` has one form, so that equal plans have equal text. `from_json` and `load` raise RecordError
    for anything that is no plan.
    """

    program: Program
    steps: tuple[PlannedStep, ...]
    buffers: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers together, those of the outputs included."""
        return sum(self.buffers)

    def diff(self, other: "Plan") -> list[str]:
        """What is different in another plan, as lines that begin with "-" (only here) and "+" (only there)."""
        lines = unified_diff(self._lines(), other._lines(), n=0, lineterm="")
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]

    def _lines(self) -> list[str]:
        sources = [f"%{number} = {source}" for number, source in enumerate(self.program.sources)]
        where = f"{self.program.library} on {self.program.device}"
        buffers = [f"buffer {number}: {size} bytes" for number, size in enumerate(self.buffers)]
        return [where, *sources, *map(str, self.steps), f"outputs: {', '.join(self.program.outputs)}", *buffers]

    def to_json(self) -> str:
        return written(self.program, self.steps, self.buffers)

    @classmethod
    def from_json(cls, text: str) -> Self:
        program, steps, buffers = read(text)
        return cls(program=program, steps=steps, buffers=buffers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to a file, whole or not at all."""
        target = Path(path)
        partly = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            partly.write_text(self.to_json(), encoding="utf-8")
            partly.replace(target)
        finally:
            partly.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        return cls.from_json(Path(path).read_text(encoding="utf-8", errors="replace"))

    def __str__(self) -> str:
        program = self.program
        kinds = [source.kind for source in program.sources]
        counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        rows = [_HEADS, *(_row(step) for step in self.steps)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(
            [
                f"{len(program.operations)} recorded operations in {len(self.steps)} steps, with {program.library} on "
                f"{program.device}",
                f"from {counts}; outputs {', '.join(program.outputs)}; "
                f"{len(self.buffers)} buffers of {self.nbytes:,} bytes in all",
                *table,
            ]
        )


def _row(step: PlannedStep) -> tuple[str, ...]:
    return (
        step.output,
        step.operation,
        " ".join(map(str, step.inputs)),
        str(step.shape),
        step.dtype,
        step.where,
        step.when,
        " ".join(map(str, step.fuses)),
    )
