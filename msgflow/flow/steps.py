"""What all flows share: steps by name, what a step may refer to, and where an error came from."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Self, TypeAlias
from weakref import ref as weak

from msgflow._printable import printable
from msgflow.errors import FlowStructureError
from msgflow.flow.refs import Arguments, Bound, Scope, bind
from msgflow.nn.function import Function
from msgflow.nn.module import Module

NO_SCOPE = nullcontext()
Given: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]


def as_step(step: Any) -> Module:
    """A Module as it is, a function as a Module that calls it."""
    if isinstance(step, Module):
        return step
    if isinstance(step, type) and issubclass(step, Module):
        raise FlowStructureError(f"{step.__name__} is a class of modules; give a module, such as {step.__name__}()")
    if not callable(step):
        raise FlowStructureError(f"a step is a Module or a function, not {step!r:.80} of type {type(step).__name__}")
    return Function(step)


def label(step: Module) -> str:
    """A step in a word: the name of its class, or of its function."""
    return step.name if isinstance(step, Function) else type(step).__name__


class Flow(Module):
    """A module whose submodules are its steps, by name. Steps may be named like methods of it ("update", "apply").

    `flow["name"]` and `flow[0]` are steps. Assigning to the name of a step replaces it; in a `with` block, assigning to
    any attribute adds a step.
    """

    _names_are_attributes = False
    _bindings: dict[str, Arguments]
    _is_open = _is_scope = False
    _keeps_results = False
    _takes_steps = False

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self.__dict__["_bindings"] = {}
        return self

    def __enter__(self) -> Self:
        if not self._takes_steps:
            raise FlowStructureError(
                "steps are added in a `with` block to a Pipeline, Parallel, Diverter or Graph; "
                f"a {type(self).__name__} is given its steps when it is made"
            )
        self.__dict__["_is_open"] = True
        return self

    def __exit__(self, *_: object) -> None:
        self.__dict__.pop("_is_open", None)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_open:
            self._add(name, value)
        elif isinstance(value, Bound):
            self._set_step(name, value)
        elif name in self._modules:
            self.register_module(name, as_step(value))  # in its place, and with its arguments
        else:
            super().__setattr__(name, value)

    def _add(self, name: str, step: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Self:
        """Add a step under a new name, with its arguments where it is not to get what the flow would give it."""
        if name in self._modules:
            raise FlowStructureError(
                f"{type(self).__name__} has a step {name!r} already; take another name, or replace it by assigning "
                "to that name outside of a `with` block"
            )
        self._set_step(name, bind(step, *args, **kwargs or {}) if args or kwargs else step)
        return self

    def _set_step(self, name: str, step: Any) -> None:
        bound = step if isinstance(step, Bound) else None
        module = as_step(step if bound is None else bound.step)
        self._check_name(name)
        self._bind(name, None if bound is None else bound.arguments)  # before any call can see the step
        self.register_module(name, module)
        if bound is not None or (self._keeps_results and not name.isdecimal()):
            self.__dict__["_is_scope"] = True

    def _check_name(self, name: object) -> None:
        super()._check_name(name)
        if name in self.__dict__ or str(name).startswith("_"):
            raise FlowStructureError(
                f"{type(self).__name__} cannot have a step {name!r}: an option of it has this name, or it begins with "
                "an underscore; take another name"
            )

    def _bind(self, name: str, arguments: Arguments | None) -> None:
        """Keep a step's arguments. In a new dict: a running call goes on with the one that it began with."""
        bindings = {key: kept for key, kept in self._bindings.items() if key != name}
        self.__dict__["_bindings"] = bindings if arguments is None else {**bindings, name: arguments}

    def _forget(self, name: str) -> bool:
        found = super()._forget(name)
        if found:
            self._bind(name, None)
        return found

    def _shape(self) -> tuple[tuple[tuple[str, Module], ...], dict[str, Arguments]]:
        """The steps and their arguments of one moment, whatever other threads add and remove meanwhile."""
        while True:
            bindings, steps = self._bindings, tuple(self._modules.items())
            if self._bindings is bindings:
                return steps, bindings

    def __getitem__(self, key: str | int) -> Module:
        """A step by its name or its position."""
        if isinstance(key, str):
            if key not in self._modules:
                raise KeyError(f"{type(self).__name__} has no step {key!r}; it has: {', '.join(self._modules)}")
            return self._modules[key]
        return list(self._modules.values())[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Module]:
        return iter(tuple(self._modules.values()))

    def _scope(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[Any]:
        """The call that references are looked up in; nothing where no step can refer to it."""
        return Scope(self, args, kwargs) if self._is_scope else NO_SCOPE

    def _arguments(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
        """What a step is called with: these arguments, or those that it was bound to."""
        bound = self._bindings.get(name)
        return (args, kwargs) if bound is None else bound(args, kwargs)


class At:
    """In the block a step is called; an error in it says which step that was. It gives the step."""

    # A block and not a function around the call: its frame would be one more at each level of flows that nest.
    __slots__ = ("flow", "name", "step")

    def __init__(self, flow: Flow, name: str) -> None:
        self.flow, self.name, self.step = flow, name, flow[name]

    def __enter__(self) -> Module:
        return self.step

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception):
            note_place(error, self.flow, self.name, self.step)


class Place(str):
    """A note on an exception that says in which step it was raised; it grows while the error comes up."""

    __slots__ = ("flow", "path")
    flow: Callable[[], Module | None]
    path: str

    @classmethod
    def of(cls, flow: Module, path: str) -> "Place":
        self = cls(f"in step {printable(path)} of {type(flow).__name__}")
        self.flow, self.path = weak(flow), path
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def note_place(error: BaseException, flow: Module, name: str, step: Module) -> None:
    """Note that an error was raised in a step of a flow: "in step second.right of Pipeline"."""
    with suppress(Exception):  # a frozen dataclass, for example, takes no notes
        notes: list[Any] = getattr(error, "__notes__", [])
        inner = next((note for note in reversed(notes) if isinstance(note, Place)), None)
        below = None if inner is None else inner.flow()
        if inner is not None and below is not None:
            paths = (path for path, module in step.named_modules() if module is below)
            between = "" if below is step else next(paths, None)
            if between is not None:
                notes.remove(inner)
                name = ".".join(filter(None, (name, between, inner.path)))
        # An error that is one object for ever, raised again and again, is not to collect notes.
        if not any(isinstance(note, Place) and note.flow() is flow and note.path == name for note in notes):
            error.add_note(Place.of(flow, name))
