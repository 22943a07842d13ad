"""The registry: modules and functions that are found by name, across files and packages.

mf.registry.new_group("checks")

@mf.registry.register("checks")
def polite(text): ...

step = mf.registry.checks.polite()
"""

import keyword
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from msgflow._plugins import load_plugins
from msgflow.errors import RegistryError, RegistryLookupError
from msgflow.nn.function import Function
from msgflow.nn.module import Module

T = TypeVar("T")


class _ByName(Generic[T]):
    """Things by name, as attributes and as items. What is not there may come from a plug-in, which is then loaded."""

    __slots__ = ("_adding", "_things", "_what")

    def __init__(self, what: str, adding: str) -> None:
        self._things: dict[str, T] = {}
        # For messages: what this is, and the code that adds a thing, as a format of its name.
        self._what, self._adding = what, adding

    def _check_name(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"a name is text, not {name!r:.80} of type {type(name).__name__}")
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise RegistryError(
                f"{name!r:.80} cannot be looked up as an attribute; give a name of letters and digits: "
                f"{self._adding.format('name')}"
            )
        if hasattr(type(self), name):
            raise RegistryError(f"{name!r} is what every {type(self).__name__} has; take another name")
        return name

    def __getitem__(self, name: str) -> T:
        if name in self:
            return self._things[name]
        near = get_close_matches(str(name), self._things) or self._things
        raise RegistryLookupError(
            f"{self._what} has no {name!r:.80}; it has: {', '.join(near) or 'nothing yet'}. "
            f"{self._adding.format(name)} adds one",
            wanted=name,
            known=list(self._things),
        )

    def __getattr__(self, name: str) -> T:
        # What begins with "_" is asked for by copy, pickle and notebooks, of objects that are not complete yet, too.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return self[name]

    def __delitem__(self, name: str) -> None:
        self[name]
        del self._things[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._things:
            load_plugins()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        load_plugins()
        return iter(tuple(self._things))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]


class Group(_ByName[Callable[..., Any]]):
    """The things of one group: `group.name(...)` or `group["name"](...)` makes a module of one.

    `del group["name"]` takes one out, so that the name can be given again.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__(f"the group {name!r}", f"@registry.register({name!r}, {{!r:.80}})")
        self._name = name

    def _add(self, thing: object, name: str | None) -> None:
        if not callable(thing):
            raise TypeError(f"a function or a class is expected, not {thing!r:.80} of type {type(thing).__name__}")
        name = self._check_name(getattr(thing, "__name__", "") if name is None else name)
        if name in self._things:
            raise RegistryError(
                f"{self._what} has {name!r} already: {self._things[name]!r:.80}. "
                f"Take another name, or del registry.{self._name}[{name!r}] first"
            )
        self._things[name] = thing if isinstance(thing, type) else Factory(thing)

    def __repr__(self) -> str:
        return f"Group({self._name!r}: {', '.join(self._things) or 'empty'})"


class Factory:
    """What stands in a group for a function: calling it makes a module, a new one each time.

    For a module that was registered as it is, it gives that one.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Module:
        if args or kwargs:
            raise TypeError(
                f"{self!r} takes no arguments: it makes a module, which takes them, so write name()(...). "
                "Register a class of modules to give arguments here"
            )
        return self.function if isinstance(self.function, Module) else Function(self.function)

    def __repr__(self) -> str:
        return f"Factory({self.function!r:.80})"


class Registry(_ByName[Group]):
    """Groups of functions, classes of modules and other callables."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("the registry", "registry.new_group({!r:.80})")

    def new_group(self, name: str) -> Group:
        """Make a group. Raises RegistryError where there is one of that name."""
        if self._check_name(name) in self._things:
            raise RegistryError(f"there is a group {name!r} already; ask before: {name!r} in registry")
        self._things[name] = Group(name)
        return self._things[name]

    def register(self, group: str, name: str | None = None) -> Callable[[T], T]:
        """A decorator for a function, a class of modules, or any other class; it gives back what it is given.

        `name` is the thing's own where none is given. Raises RegistryLookupError where there is no such group, and
        the decorator RegistryError where the group has that name.
        """
        if not isinstance(group, str):
            raise TypeError(f"the name of a group is expected, as in @registry.register('checks'), not {group!r:.80}")
        chosen = self[group]

        def decorate(thing: T) -> T:
            chosen._add(thing, name)
            return thing

        return decorate

    def __repr__(self) -> str:
        return f"Registry({', '.join(map(repr, self._things.values())) or 'empty'})"


registry = Registry()
