"""Sequential, ModuleList and ModuleDict, with the container API of PyTorch."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from operator import index as as_index
from typing import Any, Self, overload

from msgflow.nn.module import Module, wrappers


class _Numbered(Module):
    """Modules named "0", "1", ... in order: what Sequential and ModuleList share."""

    def _place(self, index: int) -> int:
        """A position from 0, for an index that may count from the end."""
        index = as_index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} modules")
        return index % len(self) if len(self) else 0

    def _renumber(self, modules: Iterable[Module]) -> None:
        kept = [_checked(module) for module in modules]
        for name in tuple(self._modules):
            self._forget(name)
        for number, module in enumerate(kept):
            self.register_module(str(number), module)

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
        return self._of(list(self)[index])

    def _of(self, modules: Iterable[Module]) -> Self:
        part = type(self).__new__(type(self))
        part._renumber(modules)
        return part

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[self._place(index)]
        self.register_module(name, module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self)
        del modules[index if isinstance(index, slice) else self._place(index)]
        self._renumber(modules)

    def append(self, module: Module) -> Self:
        # Named modules may have taken the number.
        self.register_module(next(name for name in map(str, count(len(self))) if name not in self._modules), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        if isinstance(modules, Module) and not isinstance(modules, _Numbered):
            raise TypeError(f"extend takes several modules, not one {type(modules).__name__}; use append")
        for module in [_checked(module) for module in modules]:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        modules = list(self)
        modules.insert(index, _checked(module))
        self._renumber(modules)

    def pop(self, index: int = -1) -> Module:
        module = self[index]
        del self[index]
        return module

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def __add__(self, modules: Iterable[Module]) -> Self:
        return self._of([*self, *modules])


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
            self._renumber(modules)  # type: ignore[arg-type]  # each is checked there

    def _slice(self, index: slice) -> Self:
        named = list(self._modules.items())[index]
        if all(name.isdecimal() for name, _ in named):
            return super()._slice(index)
        # A part of named modules keeps their names.
        part = self._of(())
        for name, module in named:
            part.register_module(name, module)
        return part

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

    def clear(self) -> None:
        for key in tuple(self._modules):
            self._forget(key)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
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


def _single(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) == 1 and not kwargs:
        return args[0]
    raise TypeError(f"an empty Sequential returns its one input; it got {len(args)} and {len(kwargs)} by keyword")


wrappers[list] = wrappers[tuple] = ModuleList
wrappers[dict] = wrappers[OrderedDict] = ModuleDict
