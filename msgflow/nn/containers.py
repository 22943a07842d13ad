"""Sequential, ModuleList and ModuleDict, with the container API of PyTorch."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from operator import index as as_index
from typing import Any, Self, overload

from msgflow._version_clock import restructured
from msgflow.nn.module import Module, wrappers


class _Numbered(Module):
    """Modules named "0", "1", ... in order: what Sequential and ModuleList share."""

    def _place(self, index: int) -> int:
        """A position from 0, for an index that may count from the end."""
        index = as_index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} modules")
        return index % len(self) if len(self) else 0

    def _take(self, named: Iterable[tuple[str, Module]]) -> None:
        """Hold these modules in place of all; whose name is a number is numbered anew, others keep theirs."""
        table = {str(place) if name.isdecimal() else name: module for place, (name, module) in enumerate(named)}
        for name in table.keys() - self._modules.keys():
            self._forget(name)
        # Replaced in one step, so that a call in another thread never walks along a chain that is half empty.
        self.__dict__["_modules"] = table
        restructured()

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(tuple(self._modules.values()))

    def __contains__(self, module: object) -> bool:
        return any(module is own for own in self)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        return self._slice(index) if isinstance(index, slice) else list(self)[self._place(index)]

    def _slice(self, index: slice) -> Self:
        return self._of(list(self._modules.items())[index])

    def _of(self, named: Iterable[tuple[str, Module]]) -> Self:
        part = type(self).__new__(type(self))
        part._take(named)
        return part

    @overload
    def __setitem__(self, index: int, module: Module) -> None: ...
    @overload
    def __setitem__(self, index: slice, module: Iterable[Module]) -> None: ...
    def __setitem__(self, index: int | slice, module: Module | Iterable[Module]) -> None:
        named = list(self._modules.items())
        if isinstance(index, slice):
            named[index] = _numbered(module)
            self._take(named)
        else:
            self.register_module(named[self._place(index)][0], module)  # type: ignore[arg-type]  # checked there

    def __delitem__(self, index: int | slice) -> None:
        named = list(self._modules.items())
        del named[index if isinstance(index, slice) else self._place(index)]
        self._take(named)

    def append(self, module: Module) -> Self:
        # Named modules may have taken the number.
        self.register_module(next(name for name in map(str, count(len(self))) if name not in self._modules), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        for _, module in _numbered(modules):
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        named = list(self._modules.items())
        named[as_index(index) : as_index(index)] = _numbered([module])
        self._take(named)
        return self

    @overload
    def pop(self, index: int = -1) -> Module: ...
    @overload
    def pop(self, index: slice) -> Self: ...
    def pop(self, index: int | slice = -1) -> Module | Self:
        taken = self[index]
        del self[index]
        return taken

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Self:
        return self._of(_numbered([*self, *modules]))

    def __mul__(self, times: int) -> Self:
        """The modules several times over; they are shared, so that all rounds have the same parameters."""
        return self._of(_numbered(list(self) * _times(times)))

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        return self.extend(list(self) * (_times(times) - 1))


class Sequential(_Numbered):
    """Modules in a row: each gets the output of the one before. An empty one returns its input.

    Made from modules, or from an OrderedDict (or dict) of named ones.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
        else:
            self._take(_numbered(modules))  # type: ignore[arg-type]  # each is checked there

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        modules = iter(self)
        first = next(modules, None)
        output = _single(args, kwargs) if first is None else first(*args, **kwargs)
        for module in modules:
            output = module(output)
        return output


class ModuleList(_Numbered):
    """A list whose modules are part of the tree. It is not called itself."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(Module):
    """A dict whose modules are part of the tree. It is not called itself."""

    _names_are_attributes = False

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        super().__init__()
        self.update(modules)

    def __getitem__(self, key: str) -> Module:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.register_module(key, module)

    def __delitem__(self, key: str) -> None:
        if not self._forget(key):
            raise KeyError(key)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._modules))

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        return self._modules.items()

    def get(self, key: str, default: Module | None = None) -> Module | None:
        return self._modules.get(key, default)

    def pop(self, key: str) -> Module:
        module = self[key]
        del self[key]
        return module

    def copy(self) -> Self:
        """Another dict of the same modules."""
        part = type(self).__new__(type(self))
        part.update(self.items())
        return part

    def clear(self) -> None:
        for key in tuple(self._modules):
            self._forget(key)

    def update(  # type: ignore[override]  # in PyTorch, too, this is a dict's, and asks for an argument
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]
    ) -> None:
        """Add or replace modules; all are checked before the first is registered."""
        pairs = dict(modules.items() if isinstance(modules, Mapping | ModuleDict) else modules)
        for key, module in pairs.items():
            self._check_name(key)
            _checked(module)
        for key, module in pairs.items():
            self.register_module(key, module)


def _checked(module: object) -> Module:
    if not isinstance(module, Module):
        raise TypeError(
            f"containers hold Modules, not {type(module).__name__}; a plain function needs a Module around it"
        )
    return module


def _numbered(modules: Iterable[Module]) -> list[tuple[str, Module]]:
    """Each with a number for its name, which its place decides in the end."""
    if isinstance(modules, Module) and not isinstance(modules, _Numbered):
        raise TypeError(f"several modules are expected, not one {type(modules).__name__}; put it in a list")
    return [("0", _checked(module)) for module in modules]


def _times(times: int) -> int:
    if as_index(times) < 1:
        raise ValueError(f"modules cannot be repeated {times} times; give a number of at least 1")
    return as_index(times)


def _single(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) == 1 and not kwargs:
        return args[0]
    raise TypeError(f"an empty Sequential returns its one input; it got {len(args)} and {len(kwargs)} by keyword")


wrappers[list] = wrappers[tuple] = ModuleList
wrappers[dict] = wrappers[OrderedDict] = ModuleDict
