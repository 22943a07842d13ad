"""What a module tree has to save: collecting it, loading it whole or not at all, hashing it."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from msgflow._frozen import StateValue, state_value, thaw
from msgflow._version_clock import Cell, giving_way, one_version, publish, reading
from msgflow.errors import MsgflowError, NotJson, StateDictError, StateError
from msgflow.nn.parameter import Buffer, Parameter
from msgflow.state.digest import digest as digest_of

if TYPE_CHECKING:
    from msgflow.nn.module import Module


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load left out: keys that were missing, unexpected, or of the wrong kind (with the reason)."""

    missing: list[str]
    unexpected: list[str]
    mismatched: list[str]


# One place of the state: its cell, the module it belongs to and its name there.
_Slot: TypeAlias = "tuple[Parameter | Buffer, Module, str]"


def _prepared(slot: _Slot, value: Any, key: str) -> Any:
    """The value as it will be kept. Raises TypeError, or what the module raises, for one that does not fit."""
    cell, module, name = slot
    if type(value) is str and isinstance(cell, Parameter) and cell.is_text:
        return cell.kept(value)  # what all the rest comes to for a prompt, in a third of the time
    held = cell.value
    if isinstance(held, StateValue) and not (value is None and isinstance(cell, Buffer)):
        return cell.kept(held.replacement(value, key))
    value = state_value(value, key)
    had, came = kind(held), kind(value)
    if had != came and "nothing" not in (had, came):
        raise NotJson(f"expected {had}, got {came} ({_shown(value)})")
    if isinstance(cell, Buffer):
        return cell.kept(module._buffer_value(name, value))
    if {had, came} & {"text", "a tensor"} and had != came:
        raise NotJson(f"expected {had}, got {came}")
    return cell.kept(value)


def _shown(value: Any) -> str:
    return value.described() if isinstance(value, StateValue) else f"{value!r:.60}"


def kind(value: Any) -> str:
    """The kind of a value, in words. A value replaces one of its own kind only; None fits any buffer."""
    if isinstance(value, StateValue):
        return "a tensor"
    if isinstance(value, str):
        return "text"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "a dict"


def _slots(module: "Module", prefix: str = "") -> Iterator[tuple[str, _Slot]]:
    for path, part in module.named_modules(prefix=prefix.removesuffix(".")):
        dotted = f"{path}." if path else ""
        for name, parameter in part._own_parameters():
            yield dotted + name, (parameter, part, name)
        for name, cell in part._own_buffers():
            if name not in part._non_persistent:
                yield dotted + name, (cell, part, name)


def _unique_slots(module: "Module", prefix: str = "") -> dict[str, _Slot]:
    """By key; a parameter that several modules share is one slot, under its first key."""
    seen: set[Cell] = set()
    slots = {}
    for key, slot in _slots(module, prefix):
        if slot[0] not in seen:
            seen.add(slot[0])
            slots[key] = slot
    return slots


def collect(module: "Module", prefix: str = "") -> dict[str, Any]:
    with one_version():
        return {
            key: str.__str__(value) if isinstance(value := slot[0].value, str) else _copied(value)
            for key, slot in giving_way(_unique_slots(module, prefix).items())
        }


def _copied(value: Any) -> Any:
    return value.copied() if isinstance(value, StateValue) else thaw(value)


def renamed(state: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """The state under other keys: {"old.": "new."} for all that begin so ("" for all), {"old": "new"} for one.

    The longest name that fits decides. Raises StateError where two keys become one.
    """
    if not names or not isinstance(state, Mapping):
        return state
    if not isinstance(names, Mapping) or not all(isinstance(name, str) for pair in names.items() for name in pair):
        raise TypeError(f"rename is a dict of old names to new ones, both text, not {names!r:.80}")
    for old, new in names.items():
        if _is_prefix(old) != _is_prefix(new):
            raise StateError(
                f"rename={{{old!r}: {new!r}}} mixes a key with a prefix; a prefix ends with a dot on both sides"
            )
    longest_first = sorted(names, key=len, reverse=True)
    came_from: dict[str, str] = {}
    for key in state:
        fits = (old for old in longest_first if key == old or (_is_prefix(old) and str(key).startswith(old)))
        match = next(fits, None)
        new = key if match is None else names[match] + key[len(match) :]
        if new in came_from:
            raise StateError(f"rename makes {new!r} of both {came_from[new]!r} and {key!r}; nothing was changed")
        came_from[new] = key
    return {new: state[key] for new, key in came_from.items()}


def _is_prefix(name: str) -> bool:
    return not name or name.endswith(".")


def load(module: "Module", state: Mapping[str, Any], strict: bool) -> LoadReport:
    changes, report = _compared(module, state)
    if strict:
        _refuse_misfit(module, report)
    publish(changes.items())
    return report


def prepared(module: "Module", state: Mapping[str, Any]) -> dict[Cell, Any]:
    """What loading the state would publish. Raises StateDictError where it does not fit, as `load_state_dict`."""
    changes, report = _compared(module, state)
    _refuse_misfit(module, report)
    return changes


def _compared(module: "Module", state: Mapping[str, Any]) -> tuple[dict[Cell, Any], LoadReport]:
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a mapping of dotted keys to values, not {type(state).__name__}")
    slots = _unique_slots(module)
    report = LoadReport([key for key in slots if key not in state], [str(key) for key in state if key not in slots], [])
    changes: dict[Cell, Any] = {}
    for key, slot in giving_way(slots.items()):
        if key in state:
            try:
                changes[slot[0]] = _prepared(slot, state[key], key)
            except (TypeError, ValueError, MsgflowError) as problem:
                text = str(problem)
                report.mismatched.append(text if text.startswith(f"{key}: ") else f"{key}: {text}")
    return changes, report


def _refuse_misfit(module: "Module", report: LoadReport) -> None:
    if report.missing or report.unexpected or report.mismatched:
        raise StateDictError(type(module).__name__, report.missing, report.unexpected, report.mismatched)


def copied(module: "Module", memo: dict[int, Any]) -> "Module":
    """A deep copy of one version, however many are published meanwhile."""
    with one_version():
        make, made_with, state, *_ = cast(tuple[Any, ...], module.__reduce_ex__(4))
        twin: Module = make(*deepcopy(made_with, memo))
        memo[id(module)] = twin
        twin.__dict__.update(deepcopy(state, memo))
    return twin


def move(module: "Module", device: Any, dtype: Any) -> None:
    if device is None and dtype is None:
        raise TypeError("to() takes a device, a dtype or both")
    if device is not None and not isinstance(device, str):
        device, dtype = None, device
    parts = tuple(module.modules())
    cells: set[Parameter | Buffer] = set()
    for part in parts:
        cells |= {*part._parameters.values(), *part._buffers.values()}
    tensors = {cell: value for cell in cells if isinstance(value := cell.value, StateValue)}
    publish([(cell, cell.kept(_moved(tensor, device, dtype))) for cell, tensor in tensors.items()])
    for cell in tensors:
        if isinstance(cell, Parameter) and isinstance(cell.grad, StateValue):
            cell.grad = _moved(cell.grad, device, dtype)


def _moved(tensor: StateValue, device: str | None, dtype: Any) -> StateValue:
    moved = tensor.copied().to(device, dtype if tensor.is_floating else None)
    if tensor.is_floating and not moved.is_floating:
        raise TypeError(f"to() converts weights to another type of float, not to {moved.described().partition(' ')[0]}")
    return moved


def digest(module: "Module") -> str:
    """Kept for what it was made from, so that a traced call does not hash a state that nobody changed."""
    kept: tuple[object, str] | None = module.__dict__.get("_digest")
    if kept is not None and kept[0] == reading():
        return kept[1]
    with one_version():
        # The values themselves, and no copies: tensors that stayed are not hashed again.
        made = digest_of({key: slot[0].value for key, slot in _unique_slots(module).items()})
        if (made_from := reading()) is not None:
            module.__dict__["_digest"] = (made_from, made)
    return made
