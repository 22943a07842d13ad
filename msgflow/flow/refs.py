"""What a step may be given in place of the result of the step before: references to other results.

    p.add("f3", step, flow.input, flow.ref("f2"))          its own input, an earlier result
    p.add("f4", step, flow.ref("f2")["text"], n=flow.ref("f1").count)

A reference is looked up when the step is called: in the flow that the step is in, then in the flow around that, and
so on. It needs no objects of the flow, so a flow can be copied, nested and saved with all its references.
"""

from collections.abc import Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgflow.errors import FlowStructureError, RefError

if TYPE_CHECKING:
    from msgflow.nn.module import Module


class Scope:
    """One call of a flow: what it was given and what its steps have returned so far. A `with` block is the call."""

    __slots__ = ("args", "flow", "kwargs", "outer", "results", "token")
    token: "Token[Scope | None]"

    def __init__(self, flow: "Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.flow, self.args, self.kwargs = flow, args, kwargs
        self.results: dict[str, Any] = {}

    def __enter__(self) -> "Scope":
        self.outer = _scope.get()
        self.token = _scope.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _scope.reset(self.token)


_scope: ContextVar[Scope | None] = ContextVar("msgflow_scope", default=None)


def _around() -> "list[Scope]":
    """The calls of flows that this one is in, the innermost first."""
    scopes, scope = [], _scope.get()
    while scope is not None:
        scopes.append(scope)
        scope = scope.outer
    return scopes


@dataclass(frozen=True, slots=True)
class _Input:
    """What the flow that the step is in was called with."""

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scopes = _around()
        return given(scopes[0].args, scopes[0].kwargs)

    def __repr__(self) -> str:
        return "flow.input"


@dataclass(frozen=True, slots=True)
class _InputOf:
    """What a certain flow around the step was called with."""

    flow: "Module"

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for scope in _around():
            if scope.flow is self.flow:
                return given(scope.args, scope.kwargs)
        name = type(self.flow).__name__
        raise RefError(f"{self!r} is asked for outside of that {name}; it is there for steps inside of it", name=name)

    def __repr__(self) -> str:
        return f"flow.input_of({type(self.flow).__name__})"


@dataclass(frozen=True, slots=True)
class _Previous:
    """What the step would get without references."""

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return given(args, kwargs)

    def __repr__(self) -> str:
        return "flow.previous"


@dataclass(frozen=True, slots=True)
class _Result:
    """What the step of a name has returned, in the innermost flow that has such a step."""

    name: str

    def find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        scopes = _around()
        for scope in scopes:
            if self.name in scope.results:
                return scope.results[self.name]
            if self.name in scope.flow._modules:
                raise RefError(
                    f"{self!r} is not there yet: that step of {type(scope.flow).__name__} has not returned. "
                    "Refer to a step that runs before this one",
                    name=self.name,
                )
        known = ", ".join(dict.fromkeys(name for scope in scopes for name in scope.results)) or "none"
        raise RefError(
            f"no flow around this step has a step that was named {self.name!r}; there are results of: {known}",
            name=self.name,
        )

    def __repr__(self) -> str:
        return f"flow.ref({self.name!r})"


Source = _Input | _InputOf | _Previous | _Result


class Ref:
    """A value that is looked up when a step is called: `ref["key"]`, `ref[0]` and `ref.attribute` are parts of it."""

    __slots__ = ("_path", "_source")
    _source: Source
    _path: tuple[tuple[str, Any], ...]

    def __init__(self, source: Source, path: tuple[tuple[str, Any], ...] = ()) -> None:
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_path", path)

    def __getitem__(self, key: Any) -> "Ref":
        return Ref(self._source, (*self._path, ("item", key)))

    def __getattr__(self, name: str) -> "Ref":
        if name.startswith("_"):  # what copy, pickle and others look for is not a part of the value
            raise AttributeError(f"a reference has no {name!r}; names with an underscore cannot be referred to")
        return Ref(self._source, (*self._path, ("attribute", name)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} is a reference, whose value is read and not set")

    def _unknown(self) -> Any:
        raise TypeError(f"{self!r} is a reference; what it refers to is known when the step is called, and not here")

    __iter__ = __bool__ = _unknown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and (self._source, self._path) == (other._source, other._path)

    def __hash__(self) -> int:
        return hash((self._source, str(self._path)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Ref, (self._source, self._path)

    def __repr__(self) -> str:
        parts = (f"[{key!r}]" if kind == "item" else f".{key}" for kind, key in self._path)
        return f"{self._source!r}{''.join(parts)}"


def resolve(ref: Ref, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The value of a reference, for a step that would have been called with these arguments."""
    value = ref._source.find(args, kwargs)
    try:
        for kind, key in ref._path:
            value = value[key] if kind == "item" else getattr(value, key)
    except Exception as error:
        error.add_note(f"while {ref!r} was looked up")
        raise
    return value


@dataclass(frozen=True, slots=True)
class _Nested:
    """A list, tuple or dict that has references in it, which are looked up, too."""

    value: Any

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a step is called with: references and plain values."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (
            tuple(_found(item, args, kwargs) for item in self.args),
            {name: _found(item, args, kwargs) for name, item in self.kwargs.items()},
        )

    def refs(self) -> list[Ref]:
        return [ref for item in (*self.args, *self.kwargs.values()) for ref in _refs_in(item)]


def _found(item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(item, Ref):
        return resolve(item, args, kwargs)
    return _filled(item.value, args, kwargs) if isinstance(item, _Nested) else item


def _filled(item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if type(item) is dict:
        return {key: _filled(part, args, kwargs) for key, part in item.items()}
    if type(item) in (list, tuple):
        return type(item)(_filled(part, args, kwargs) for part in item)
    return _found(item, args, kwargs)


def _refs_in(item: Any) -> Iterator[Ref]:
    value = item.value if isinstance(item, _Nested) else item
    if isinstance(value, Ref):
        yield value
    elif type(value) in (list, tuple, dict):
        for part in value.values() if type(value) is dict else value:
            yield from _refs_in(part)


def _prepared(item: Any) -> Any:
    """Found out once, and not at each call: a plain value may be large."""
    return item if isinstance(item, Ref) or next(_refs_in(item), None) is None else _Nested(item)


@dataclass(frozen=True, slots=True)
class Bound:
    """A step with its arguments."""

    step: Any
    arguments: Arguments


def bind(step: Any, /, *args: Any, **kwargs: Any) -> Bound:
    """A step that gets these arguments in place of what the flow would give it: references, and values as they are."""
    if isinstance(step, Bound):
        raise FlowStructureError("this step has its arguments already; bind the step itself")
    prepared = {name: _prepared(item) for name, item in kwargs.items()}
    return Bound(step, Arguments(tuple(map(_prepared, args)), prepared))


def ref(name: str) -> Ref:
    """The result of the step of that name, in the flow that the step is in or in the innermost one around it."""
    if not isinstance(name, str):
        raise TypeError(f"a reference is to the name of a step, not to {name!r:.80} of type {type(name).__name__}")
    return Ref(_Result(name))


def input_of(flow: "Module") -> Ref:
    """What that flow, somewhere around the step, was called with."""
    if not hasattr(flow, "_bindings"):
        raise TypeError(f"only a flow has an input to refer to, not {flow!r:.80}")
    flow.__dict__["_is_scope"] = True
    return Ref(_InputOf(flow))


flow_input = Ref(_Input())
previous = Ref(_Previous())


def named(ref: Ref) -> str | None:
    """The name of the step that is referred to."""
    return ref._source.name if isinstance(ref._source, _Result) else None


def given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a flow was called with as one value: its one argument, a tuple of several, a dict of keywords, or None."""
    if kwargs:
        return (*args, kwargs) if args else kwargs
    if len(args) == 1:
        return args[0]
    return args or None
