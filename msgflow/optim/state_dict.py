"""The state of an optimiser, as a flat dict that a file can hold.

    param_groups.0.lr        an option
    param_groups.0.params    the numbers of the parameters in the group, counted over all groups
    state.3.step             how many steps parameter 3 has made
    state.3.exp_avg          a moment of it

PyTorch's layout has the same parts, under the same names, in two dicts and a list.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from msgflow.errors import MsgflowError, StateDictError
from msgflow.optim.arrays import own_copy
from msgflow.optim.options import number as checked_number
from msgflow.optim.parameters import Trained, value_of
from msgflow.tensor.backends import Array, is_array, namespace, narrowed
from msgflow.tensor.dtypes import float32
from msgflow.tensor.tensors import Tensor

# What a group says beside its options; a schedule keeps the learning rate there that it began with.
DESCRIBED = ("params", "param_names", "name", "initial_lr")
# What PyTorch's groups say of how a step is computed there, not of what it is.
_HOW = {"foreach", "fused", "capturable", "differentiable", "decoupled_weight_decay"}


@dataclass(slots=True)
class State:
    """What an optimiser keeps of one parameter.

    `step` is how many steps it has made, where the rule counts them; `master` is a 16-bit parameter in float32, and
    `rounded` what was published of it.
    """

    step: int = 0
    moments: dict[str, Array] = field(default_factory=dict)
    master: Array | None = None
    rounded: Array | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "State":
        # Moments alone are written to. `rounded` is known by its identity, and a copied parameter shares that array.
        return State(self.step, deepcopy(self.moments, memo), self.master, self.rounded)


def collect(groups: Sequence[Mapping[str, Any]], states: Mapping[Trained, State]) -> dict[str, Any]:
    saved: dict[str, Any] = {}
    trained: list[Trained] = []
    for number, group in enumerate(groups):
        numbers = list(range(len(trained), len(trained) + len(group["params"])))
        trained += group["params"]
        for name, value in {**group, "params": numbers}.items():
            saved[f"param_groups.{number}.{name}"] = list(value) if isinstance(value, tuple) else value
    for number, parameter in enumerate(trained):
        if parameter in states:
            saved |= {f"state.{number}.{name}": value for name, value in _saved(states[parameter])}
    return saved


def _saved(state: State) -> list[tuple[str, Any]]:
    # Moments are written to at the next step.
    arrays = [(name, Tensor.of(own_copy(array))) for name, array in state.moments.items()]
    master = [] if state.master is None else [("master", Tensor.of(state.master))]
    return [*([("step", state.step)] if state.step else []), *arrays, *master]


# --- loading ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a state has to fit: the groups of an optimiser, how it checks options, the moments that it knows.

    `required` is what there is of every parameter that has been stepped.
    """

    name: str
    groups: Sequence[Mapping[str, Any]]
    checked: Callable[[dict[str, Any]], dict[str, Any]]
    options: frozenset[str]
    moments: tuple[str, ...]
    required: tuple[str, ...]


def prepared(wanted: Wanted, saved: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[Trained, State]]:
    """The options of each group, and the states of parameters. Raises StateDictError, with every problem."""
    if not isinstance(saved, Mapping):
        raise TypeError(f"the state of an optimiser is a mapping, not {type(saved).__name__}")
    problems = _Problems()
    groups, entries = _parted(saved, problems)
    options = [_options(wanted, number, given, problems) for number, given in enumerate(groups)]
    states = {}
    if problems.fit(wanted.groups, groups):
        numbered = _numbered(wanted.groups, groups)
        for number, entry in entries.items():
            if number in numbered:
                states[numbered[number]] = _state(wanted, number, entry, numbered[number], problems)
            else:
                problems.unexpected.append(f"state.{number}")
    problems.refuse(wanted.name)
    return options, states


class _Problems:
    def __init__(self) -> None:
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.mismatched: list[str] = []

    def fit(self, groups: Sequence[Mapping[str, Any]], saved: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the saved groups are as many, of as many parameters, and of the same names where both have names."""
        before = len(self.mismatched)
        if len(saved) != len(groups):
            self.mismatched.append(f"param_groups: expected {len(groups)}, got {len(saved)}")
        for number, (group, given) in enumerate(zip(groups, saved, strict=False)):
            count, names, params = len(group["params"]), group.get("param_names"), given.get("params")
            if not isinstance(params, list) or not all(isinstance(param, int) for param in params):
                self.mismatched.append(f"param_groups.{number}.params: expected a list of numbers, got {params!r:.60}")
            elif len(params) != count:
                self.mismatched.append(f"param_groups.{number}.params: expected {count} parameters, got {len(params)}")
            elif names is not None and given.get("param_names") not in (None, names):
                self.mismatched.append(
                    f"param_groups.{number}.param_names: expected {', '.join(names)}; without this key, parameters are "
                    "told by their order alone"
                )
        return len(self.mismatched) == before

    def refuse(self, name: str) -> None:
        if self.missing or self.unexpected or self.mismatched:
            raise StateDictError(
                name,
                self.missing,
                self.unexpected,
                self.mismatched,
                hint="Give it the state of an optimiser of the same class, with as many parameters in each group.",
            )


def _parted(saved: Mapping[str, Any], problems: _Problems) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """The groups, and the states by number, of a flat state or of PyTorch's."""
    if "param_groups" in saved:
        saved = _flat(saved, problems)
    parts: dict[str, dict[int, dict[str, Any]]] = {"param_groups": {}, "state": {}}
    for key, value in saved.items():
        kind, _, rest = str(key).partition(".")
        number, _, name = rest.partition(".")
        if kind in parts and number.isdecimal() and name:
            parts[kind].setdefault(int(number), {})[name] = value
        else:
            problems.unexpected.append(str(key))
    return [parts["param_groups"][number] for number in sorted(parts["param_groups"])], parts["state"]


def _flat(nested: Mapping[str, Any], problems: _Problems) -> dict[str, Any]:
    try:
        parts = [("param_groups", enumerate(nested["param_groups"])), ("state", nested["state"].items())]
        return {
            f"{kind}.{number}.{name}": value
            for kind, entries in parts
            for number, entry in entries
            for name, value in entry.items()
        }
    except (AttributeError, KeyError, TypeError):
        problems.mismatched.append("param_groups: expected a list of dicts beside a dict `state`, as PyTorch has them")
        return {}


def _options(wanted: Wanted, number: int, given: Mapping[str, Any], problems: _Problems) -> dict[str, Any]:
    place = f"param_groups.{number}"
    own = {name: given[name] for name in wanted.options if name in given}
    problems.missing += [f"{place}.{name}" for name in sorted(wanted.options - own.keys())]
    described = {name: given[name] for name in ("param_names", "name", "initial_lr") if name in given}
    foreign = given.keys() - own.keys() - described.keys() - _HOW - {"params"}
    problems.unexpected += [f"{place}.{name}" for name in sorted(foreign) if given[name] not in (None, False)]
    try:
        if "initial_lr" in described:
            described["initial_lr"] = checked_number("initial_lr", described["initial_lr"])
        return {**described, **(wanted.checked(own) if len(own) == len(wanted.options) else {})}
    except (TypeError, ValueError) as problem:
        problems.mismatched.append(f"{place}: {problem}")
        return {}


def _numbered(groups: Sequence[Mapping[str, Any]], saved: Sequence[Mapping[str, Any]]) -> dict[int, Trained]:
    return {
        number: parameter
        for group, given in zip(groups, saved, strict=True)
        for number, parameter in zip(given["params"], group["params"], strict=True)
    }


def _state(wanted: Wanted, number: int, entry: Mapping[str, Any], of: Trained, problems: _Problems) -> State:
    value, state = value_of(of), State()
    for name, given in entry.items():
        key = f"state.{number}.{name}"
        try:
            if name == "step":
                state.step = int(checked_number("step", float(given)))
            elif name == "master" and value.dtype.is_half:
                state.master = _array(given, value)
            elif name in wanted.moments:
                state.moments |= {} if given is None else {name: _array(given, value)}
            else:
                problems.unexpected.append(key)
        except (TypeError, ValueError, MsgflowError) as problem:
            problems.mismatched.append(f"{key}: {problem}")
    problems.missing += [f"state.{number}.{name}" for name in wanted.required if name not in entry]
    if state.master is not None:
        rounded = narrowed(state.master, value.dtype)
        # Where the parameter has been given another value since, that one counts.
        state.rounded = value.array if bool(namespace(rounded).all(rounded == value.array)) else None
    return state


def _array(given: Any, of: Tensor) -> Array:
    """Numbers of any library, as the optimiser keeps those of this parameter."""
    if not isinstance(given, Tensor):
        given = Tensor.of(given if is_array(given) else np.asarray(given))
    if given.shape != of.shape:
        raise ValueError(f"expected a tensor of shape {of.shape}, got {given.shape}")
    return own_copy(given.detach().to(device=of.device, dtype=float32 if of.dtype.is_half else of.dtype).array)
