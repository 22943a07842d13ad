"""What a module tree has to save: collecting it, loading it whole or not at all, hashing it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgflow._frozen import freeze, thaw
from msgflow._version_clock import Cell, now, publish
from msgflow.errors import MsgflowError, NotJson, StateDictError

if TYPE_CHECKING:
    from msgflow.nn.module import Module


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load left out: keys that were missing, unexpected, or of the wrong kind (with the reason)."""

    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


@dataclass(frozen=True, slots=True)
class _Slot:
    """One place of the state: its cell, the module it belongs to and its name there."""

    cell: Cell
    module: "Module"
    name: str

    def prepare(self, value: Any, key: str) -> Any:
        """The value as it will be kept. Raises TypeError, or what the module raises, for one that does not fit."""
        frozen = freeze(value, key)
        had, came = kind(self.cell.value), kind(frozen)
        if "nothing" not in (had, came) and had != came:
            raise NotJson(f"expected {had}, got {came} ({frozen!r:.60})")
        parameter = self.module._parameters.get(self.name)
        if parameter is None:
            return self.module._buffer_value(self.name, frozen)
        if (came == "text") != parameter.is_text:
            raise NotJson(f"expected {had}, got {came}")
        return parameter.prepare(frozen)


def kind(value: Any) -> str:
    """The kind of a JSON value, in words. A value replaces one of its own kind only; None fits any buffer."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a dict"


def _slots(module: "Module", prefix: str = "") -> Iterator[tuple[str, _Slot]]:
    for path, part in module.named_modules(prefix=prefix.removesuffix(".")):
        dotted = f"{path}." if path else ""
        for name, parameter in part._parameters.items():
            yield dotted + name, _Slot(parameter.cell, part, name)
        for name, cell in part._buffers.items():
            if name not in part._non_persistent:
                yield dotted + name, _Slot(cell, part, name)


def _unique_slots(module: "Module", prefix: str = "") -> dict[str, _Slot]:
    """By key; a parameter that several modules share is one slot, under its first key."""
    seen: set[int] = set()
    slots = {}
    for key, slot in _slots(module, prefix):
        if id(slot.cell) not in seen:
            seen.add(id(slot.cell))
            slots[key] = slot
    return slots


def collect(module: "Module", prefix: str = "") -> dict[str, Any]:
    return {
        key: str(slot.cell.value) if isinstance(slot.cell.value, str) else thaw(slot.cell.value)
        for key, slot in _unique_slots(module, prefix).items()
    }


def load(module: "Module", state: Mapping[str, Any], strict: bool) -> LoadReport:
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a mapping of dotted keys to values, not {type(state).__name__}")
    slots = _unique_slots(module)
    missing = [key for key in slots if key not in state]
    unexpected = [str(key) for key in state if key not in slots]
    mismatched, changes = [], []
    for key, slot in slots.items():
        if key in state:
            try:
                changes.append((slot.cell, slot.prepare(state[key], key)))
            except (TypeError, ValueError, MsgflowError) as problem:
                mismatched.append(f"{key}: {problem}")
    if strict and (missing or unexpected or mismatched):
        raise StateDictError(type(module).__name__, missing, unexpected, mismatched)
    publish(changes)
    return LoadReport(missing, unexpected, mismatched)


def digest(module: "Module") -> str:
    """Kept with the clock's reading, so that a traced call does not hash a state that nobody changed."""
    clock = now()
    kept: tuple[int, str] | None = module.__dict__.get("_digest")
    if kept is not None and kept[0] == clock:
        return kept[1]
    text = json.dumps(collect(module), sort_keys=True, separators=(",", ":"))
    made = hashlib.sha256(text.encode()).hexdigest()[:16]
    module.__dict__["_digest"] = (clock, made)
    return made
