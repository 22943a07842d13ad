"""Plans as text: JSON with one line for each value, operation and step, and everything in a fixed order.

A file may come from anywhere. What is read is checked to be a plan, by itself; whether it fits what was recorded, and
keeps no two results in one place, is checked when it is launched.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, cast

from msgflow._frozen import freeze, non_finite, thaw
from msgflow.errors import RecordError
from msgflow.tensor.dtypes import ALL
from msgflow.tensor.runtime.program import KINDS, Input, Kind, Program, Recorded, Source
from msgflow.tensor.runtime.steps import Place, PlannedStep, When

VERSION = 1
_DTYPES = tuple(dtype.name for dtype in ALL)
_MOST = 1 << 62  # bytes, and numbers along an axis
_NAME = re.compile(r"[a-z][a-z0-9_+]*")
_SETTING = re.compile(r"[a-z_]+")
_DEVICE = re.compile(r"[a-z]+(:\d+)?")
_VALUE = re.compile(r"%\d{1,9}")
_READ = re.compile(r"%\d{1,9}(:float32)?")
_NUMBER = re.compile(r"inf|-inf|nan")
_STEP = tuple(PlannedStep.__dataclass_fields__)


def written(program: Program, steps: Iterable[PlannedStep], buffers: Iterable[int]) -> str:
    sources = [{"value": f"%{number}", **asdict(source)} for number, source in enumerate(program.sources)]
    recorded = [{"value": program.name(number), **_fields(one)} for number, one in enumerate(program.operations)]
    parts = [
        f'"msgflow plan": {VERSION}',
        f'"library": {json.dumps(program.library)}',
        f'"device": {json.dumps(program.device)}',
        f'"sources": {_lines(sources)}',
        f'"recorded": {_lines(recorded)}',
        f'"outputs": {json.dumps(program.outputs)}',
        f'"steps": {_lines(map(asdict, steps))}',
        f'"buffers": {json.dumps(list(buffers))}',
    ]
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def _fields(recorded: Recorded) -> dict[str, Any]:
    fields = {name: getattr(recorded, name) for name in Recorded.__dataclass_fields__}
    return fields | {"settings": thaw(recorded.settings)}


def _lines(items: Iterable[Any]) -> str:
    lines = ",\n    ".join(json.dumps(item, allow_nan=False) for item in items)
    return f"[\n    {lines}\n  ]" if lines else "[]"


def read(text: str) -> tuple[Program, tuple[PlannedStep, ...], tuple[int, ...]]:
    try:
        data = json.loads(text, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (TypeError, ValueError, RecursionError) as error:
        raise RecordError(f"this is no plan: {error}; plans are written by Plan.save and Plan.to_json") from None
    names = ("msgflow plan", "library", "device", "sources", "recorded", "outputs", "steps", "buffers")
    version, library, device, sources, recorded, outputs, steps, buffers = _Part(data, "the plan").fields(names)
    if version.whole() != VERSION:
        version.refuse(f"this version of msgflow reads plans of version {VERSION}; launch without a plan to make one")
    count = len(sources.items())
    made = count + len(recorded.items())
    program = Program(
        library.text(_NAME),
        device.text(_DEVICE),
        tuple(_source(part, f"%{number}") for number, part in enumerate(sources.items())),
        tuple(_recorded(part, count + number) for number, part in enumerate(recorded.items())),
        tuple(part.value_before(made) for part in outputs.items()),
    )
    sizes = tuple(part.whole() for part in buffers.items())
    planned = tuple(_step(part, program, len(sizes)) for part in steps.items())
    return program, planned, sizes


def _source(part: "_Part", name: str) -> Source:
    value, kind, shape, dtype = part.fields(("value", "kind", "shape", "dtype"))
    value.text((name,))
    return Source(cast(Kind, kind.text(KINDS)), shape.sizes(), dtype.text(_DTYPES))


def _recorded(part: "_Part", number: int) -> Recorded:
    value, operation, inputs, settings, shape, dtype = part.fields(("value", *Recorded.__dataclass_fields__))
    value.text((f"%{number}",))
    return Recorded(
        operation.text(_NAME),
        tuple(given.given(number) for given in inputs.items()),
        settings.settings(),
        shape.sizes(),
        dtype.text(_DTYPES),
    )


def _step(part: "_Part", program: Program, buffers: int) -> PlannedStep:
    operation, inputs, output, shape, dtype, fuses, when, place, scratch = part.fields(_STEP)
    count = len(program.sources) + len(program.operations)
    return PlannedStep(
        operation=operation.text(_NAME),
        inputs=tuple(given.given(count, _READ) for given in inputs.items()),
        output=output.value_before(count, _READ),
        shape=shape.sizes(),
        dtype=dtype.text(_DTYPES),
        fuses=tuple(member.whole(len(program.operations)) for member in fuses.items()),
        when=cast(When, when.text(("run", "change"))),
        place=cast(Place, place.text(("view", "new")) if isinstance(place.value, str) else place.whole(buffers)),
        scratch=None if scratch.value is None else scratch.whole(buffers),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file, and where it is; each method takes it for something, or says why it is not that."""

    value: Any
    where: str

    def refuse(self, wanted: str) -> NoReturn:
        raise RecordError(f"this is no plan: {self.where} is {self.value!r:.60}; {wanted}")

    def fields(self, names: Iterable[str]) -> "list[_Part]":
        names = list(names)
        if not isinstance(self.value, dict) or set(self.value) != set(names):
            self.refuse(f"it should have exactly {', '.join(names)}")
        return [_Part(self.value[name], f"{self.where}.{name}".removeprefix("the plan.")) for name in names]

    def items(self) -> "list[_Part]":
        if not isinstance(self.value, list):
            self.refuse("it should be a list")
        return [_Part(item, f"{self.where}[{number}]") for number, item in enumerate(self.value)]

    def whole(self, below: int = _MOST) -> int:
        if type(self.value) is not int or not 0 <= self.value < below:
            self.refuse(f"it should be a whole number from 0 and less than {below}")
        return self.value

    def text(self, wanted: "re.Pattern[str] | tuple[str, ...]") -> str:
        if isinstance(wanted, tuple):
            if self.value not in wanted:
                self.refuse(f"it should be one of {', '.join(wanted)}")
        elif not isinstance(self.value, str) or not wanted.fullmatch(self.value):
            self.refuse(f"it should be text of the form {wanted.pattern}")
        return cast(str, self.value)

    def sizes(self) -> tuple[int, ...]:
        return tuple(size.whole() for size in self.items())

    def value_before(self, count: int, form: "re.Pattern[str]" = _VALUE) -> str:
        name = self.text(form)
        if int(name[1:].partition(":")[0]) >= count:
            self.refuse(f"it should be a value that is there before, %0 to %{count - 1}")
        return name

    def given(self, count: int, form: "re.Pattern[str]" = _VALUE) -> Input:
        """A value, or a number."""
        if isinstance(self.value, str):
            return self.value if _NUMBER.fullmatch(self.value) else self.value_before(count, form)
        if type(self.value) not in (int, float, bool) or list(non_finite(self.value)):
            self.refuse("it should be a value, such as %0, or a number")
        return cast(Input, self.value)

    def settings(self) -> Any:
        if not isinstance(self.value, dict) or list(non_finite(self.value)):
            self.refuse("it should be an object of finite numbers, text and lists of them")
        for name in self.value:
            _Part(name, f"a name in {self.where}").text(_SETTING)
        return freeze(self.value, self.where)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError(f"a name is there twice in {{{', '.join(name for name, _ in pairs)}}}"[:100])
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
