"""Values that cannot change: what parameters and buffers hold. They are JSON, frozen, or a StateValue.

A value is published whole, so that no call ever sees half of a change. A plain dict in a buffer could be
edited in place, behind the back of every running call and of the digest; a frozen one says what to do instead.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self, TypeAlias
from weakref import ref

from msgflow.errors import NotJson


class Leaf:
    """Where the gradient of a value goes that no operation made, and the Cell that keeps the value, if one does.

    A value has its leaf and not its Cell, which has the value: so the numbers of a module that is dropped go with it,
    and wait for no garbage collector.
    """

    __slots__ = ("_cell", "grad")

    def __init__(self, cell: Any = None) -> None:
        self._cell = None if cell is None else ref(cell)
        self.grad: Any = None

    @property
    def cell(self) -> Any:
        return None if self._cell is None else self._cell()


class StateValue:
    """A value of a state that is no JSON: a tensor. Like all of them it is published whole, never changed in place."""

    __slots__ = ()
    requires_grad: bool
    grad: Any

    @property
    def cell(self) -> Any:
        """The Cell that keeps it; None where none does."""
        raise NotImplementedError

    @property
    def is_leaf(self) -> bool:
        """Whether it is a value by itself, and not one that its gradient is handed on from."""
        raise NotImplementedError

    @property
    def is_floating(self) -> bool:
        """Whether it can have a gradient."""
        raise NotImplementedError

    def watch(self, leaf: Leaf | None) -> None:
        """Let gradients go there; None for not at all."""
        raise NotImplementedError

    def kept_by(self, cell: Any) -> Self:
        """This value as that Cell is to store it; whoever reads it can find the Cell."""
        raise NotImplementedError

    def replacement(self, value: Any, where: str) -> Self:
        """Another value for the place of this one. Raises TypeError or ValueError for one that does not fit."""
        raise NotImplementedError

    def copied(self) -> Self:
        """This value for a state dict: what is done to it never reaches the module."""
        raise NotImplementedError

    def raw(self) -> tuple[str, Any]:
        """The name of its type, and its numbers in a numpy array, for reading; bfloat16's bits are uint16."""
        raise NotImplementedError

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """On a device, of a type, or both."""
        raise NotImplementedError

    def described(self) -> str:
        """Its type and shape: "float32 (2, 3)"."""
        raise NotImplementedError


Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


def _refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("a value in a module's state is published whole: assign a new value instead of changing this one")


class FrozenDict(dict[str, Any]):
    """A dict that compares, prints and serialises as one, is hashable, and cannot be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = update = setdefault = pop = popitem = clear = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __copy__(self) -> "FrozenDict":
        return self

    def __deepcopy__(self, memo: object) -> "FrozenDict":
        return self

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return freeze, (thaw(self),)


class FrozenList(list[Any]):
    """A list that compares, prints and serialises as one, is hashable, and cannot be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = sort = reverse = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))

    def __copy__(self) -> "FrozenList":
        return self

    def __deepcopy__(self, memo: object) -> "FrozenList":
        return self

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        return freeze, (thaw(self),)


def freeze(value: Any, where: str = "value") -> Any:
    """The same JSON value, unchangeable; raises NotJson, naming the place, where it is none.

    Tuples and sets are refused: no file format would give them back as they were.
    """
    if type(value) is str:
        return value
    try:
        return _frozen(value, where)
    except RecursionError:
        raise NotJson(f"{where} is nested too deep for any state file, or contains itself") from None


def _frozen(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | FrozenDict | FrozenList):
        return value
    if isinstance(value, str | int | float):
        return _plain(value)
    if isinstance(value, list):
        return FrozenList(_frozen(item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise NotJson(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be text")
        return FrozenDict({str.__str__(key): _frozen(item, f"{where}[{key!r}]") for key, item in value.items()})
    raise NotJson(f"{where} is of type {type(value).__name__}, which no state file can hold; {_hint(value)}")


def _hint(value: Any) -> str:
    if isinstance(value, StateValue):
        return "a tensor is a value by itself, and not part of a list or a dict: give it a name of its own"
    if hasattr(value, "__array__"):
        return "make a tensor of it: mt.tensor(...), of msgflow.tensor"
    return "give text, a number, a boolean, None, a list or a dict with text keys"


def _plain(value: str | int | float) -> str | int | float:
    """Subclasses (a Text, an Enum of text, numpy's float64) become what they are for a file."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    kind = int if isinstance(value, int) else float
    return value if type(value) is kind else kind(value)


def state_value(value: Any, where: str) -> Any:
    """What a place of a state can hold: a tensor, or a JSON value, frozen. Raises NotJson as `freeze`."""
    return value if isinstance(value, StateValue) else freeze(value, where)


def thaw(value: Any) -> Any:
    """A changeable deep copy, of plain dicts and lists."""
    if isinstance(value, dict):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, list):
        return [thaw(item) for item in value]
    return value


def non_finite(value: Any, where: str = "") -> Iterator[str]:
    """The places of NaN and infinities, which JSON cannot write."""
    if isinstance(value, float) and not math.isfinite(value):
        yield where
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from non_finite(item, f"{where}[{key!r}]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from non_finite(item, f"{where}[{index}]")
