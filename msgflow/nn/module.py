"""Module: a node of the tree that a workflow is."""

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, Self, TypeVar, cast

from msgflow._bridge import current_flow, in_flow, in_thread, wait
from msgflow._frozen import StateValue, state_value
from msgflow._version_clock import Pin, pinned, publish, read, restructured, transaction
from msgflow.errors import NotJson
from msgflow.nn import state_dict as _state
from msgflow.nn.calling import Overlay, call_module
from msgflow.nn.hooks import Hook, HookTable, RemovableHandle
from msgflow.nn.lifecycle import Lifecycle
from msgflow.nn.on_message import Given, Reads, on_message
from msgflow.nn.parameter import Buffer, Parameter, TensorAttribute
from msgflow.nn.tree import Tree
from msgflow.nn.tree_repr import tree_repr
from msgflow.trace import names

T = TypeVar("T")
_pinned = pinned.get

# How a list, a tuple or a dict of modules is registered when it is assigned; containers.py fills it.
wrappers: dict[type, Callable[[Any], "Module"]] = {}


class Module(Tree, Lifecycle):
    """A step of a workflow, with its own prompts and tensors (parameters), constants (buffers) and submodules.

    Subclasses write `def forward`, `async def aforward`, or both; users call `module(...)` or
    `await module.acall(...)`, at any nesting. `blocking = True` says that `forward` really blocks its thread.
    """

    blocking = False
    # What a call with a single Message reads from it, and where in a copy of it the output goes; see on_message.py.
    reads, writes = cast(Reads, None), cast("str | None", None)
    _is_declared = False  # whether either was ever given: one look at each call instead of two
    training: bool
    _is_plain, _is_async = True, False
    _names_are_attributes = True
    _choose_overlay: Callable[[tuple[Any, ...], dict[str, Any]], Overlay | None] | None = None
    _parameters: dict[str, Parameter]
    _buffers: dict[str, Buffer]
    _non_persistent: set[str]
    _modules: dict[str, "Module"]
    _made_in: Pin | None  # the call in which it was made
    _forward_pre_hooks: HookTable
    _forward_hooks: HookTable

    def __new__(cls, /, *args: Any, **kwargs: Any) -> Self:
        # Here and not in __init__, so that a subclass that forgets super().__init__() works.
        self = super().__new__(cls)
        self.__dict__.update(
            _parameters={},
            _buffers={},
            _non_persistent=set(),
            _modules={},
            _forward_pre_hooks=HookTable(),
            _forward_hooks=HookTable(),
            training=True,
            _made_in=_pinned(),
        )
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_declared = cls.reads is not None or cls.writes is not None
        if iscoroutinefunction(cls.forward):
            raise TypeError(f"{cls.__name__}.forward is `async def`; name it `aforward`, and both doors will work")
        # The class that wrote one of the two last decides for both doors, so that a new `forward` is not passed over
        # in favour of an inherited `aforward`, nor the other way round.
        writer = next(owner for owner in cls.__mro__ if "forward" in vars(owner) or "aforward" in vars(owner))
        if writer is not Module:
            cls._is_plain, cls._is_async = "forward" in vars(writer), "aforward" in vars(writer)

    # --- calling ---------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if type(self).aforward is Module.aforward:
            raise NotImplementedError(
                f"{type(self).__name__} has neither `def forward` nor `async def aforward`; write one of them"
            )
        return wait(self.aforward(*args, **kwargs))

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        return await in_flow(self.forward, args, kwargs)

    __call__ = call_module

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """As `module(...)`, for async code: what has to be waited for suspends this task and blocks nobody."""
        return await in_flow(self, args, kwargs)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._is_declared and type(args) is not Given:
            return on_message(self, args, kwargs)
        flow = current_flow()
        if flow is None:
            return self.forward(*args, **kwargs) if self._is_plain else wait(self.aforward(*args, **kwargs))
        outer = flow.hand_over(self)
        try:
            if self._is_async:
                return flow.wait(self.aforward(*args, **kwargs))
            if self.blocking:
                return flow.wait(in_thread(self.forward, *args, **kwargs))
            return self.forward(*args, **kwargs)
        finally:
            flow.hand_over(outer)

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        """The operation ("" for a plain step), the name and the first attributes of this module's spans."""
        name = type(self).__name__
        return "", name, {names.MODULE: name}

    def register_forward_pre_hook(self, hook: Hook, *, prepend: bool = False) -> RemovableHandle:
        """Before each call: `hook(module, args, kwargs)` returns None or `(args, kwargs)`."""
        return self._forward_pre_hooks.register(hook, prepend=prepend)

    def register_forward_hook(self, hook: Hook, *, prepend: bool = False, always_call: bool = False) -> RemovableHandle:
        """After each call: `hook(module, args, kwargs, output)` returns None or a new output.

        `always_call` runs it after a failure, too, with None as output where there is none.
        """
        return self._forward_hooks.register(hook, prepend=prepend, always_call=always_call)

    # --- attributes ------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        parameter = self._parameters.get(name)
        if parameter is not None:
            # What read(parameter) does, without the call: this is where prompts are read.
            value, version = parameter.stored
            pin = _pinned()
            return value if pin is None or version <= pin.number else pin.look_up(parameter)
        if name in self._modules:
            return self._modules[name]
        if name in self._buffers:
            return read(self._buffers[name])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(getattr(type(self), name, None), property):
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
        elif isinstance(value, StateValue):
            self._set_tensor(name, value)
        elif self._keeps(name, value):
            self._parameters[name].data = value
        elif name in self._buffers:
            self._set_buffer(name, value)
        elif type(value) in wrappers and _holds_modules(name, value):
            self.register_module(name, wrappers[type(value)](value))
        else:
            self._set_plain(name, value)

    def _set_tensor(self, name: str, value: StateValue) -> None:
        held, cell = self._parameters.get(name), value.cell
        is_shared = isinstance(cell, Parameter) and (value.requires_grad or not isinstance(cell, TensorAttribute))
        if is_shared and cell is not held:  # weights that two modules share, as in PyTorch
            self.register_parameter(name, cell)
        elif isinstance(held, TensorAttribute):
            if not held.take(value):
                self._register(self._parameters, name, TensorAttribute(value, requires_grad=value.requires_grad))
        elif held is not None:
            held.data = value
        elif name in self._buffers:
            self._set_buffer(name, value)
        elif self._is_worked_out(value):
            self._set_plain(name, value)
        else:
            self._register(self._parameters, name, TensorAttribute(value, requires_grad=value.requires_grad))

    def _is_worked_out(self, value: StateValue) -> bool:
        """Whether a tensor is what a computation has come to, and no state: it has a history, or a call made it.

        Modules that are made in a call have a state all the same.
        """
        pin = _pinned()
        return not value.is_leaf or (pin is not None and pin.inside and pin is not self._made_in)

    def _keeps(self, name: str, value: Any) -> bool:
        """Whether a parameter is given another value; what is no array replaces an attribute that was a tensor."""
        held = self._parameters.get(name)
        return held is not None and (not isinstance(held, TensorAttribute) or hasattr(value, "__array__"))

    def _set_buffer(self, name: str, value: Any) -> None:
        buffer = self._buffers[name]
        held = buffer.value
        if isinstance(held, StateValue) and hasattr(value, "__array__") and not isinstance(value, StateValue):
            value = held.replacement(value, f"the buffer {name!r}")
        publish([(buffer, buffer.kept(self._buffer_value(name, value)))])

    def _set_plain(self, name: str, value: Any) -> None:
        self._forget(name)
        object.__setattr__(self, name, value)
        if name in ("reads", "writes"):
            self.__dict__["_is_declared"] = True

    def __delattr__(self, name: str) -> None:
        if not self._forget(name):
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _tool_function(self) -> Callable[..., Any]:
        """What describes this module as a tool of an agent: its name, docstring and parameters."""
        return self.aforward if self._is_async else self.forward

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _not_copied}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return cast(Self, _state.copied(self, memo))

    def _forget(self, name: str) -> bool:
        """Take a name out of every table."""
        found = [table.pop(name) for table in (self._parameters, self._buffers, self._modules) if name in table]
        self._non_persistent.discard(name)
        if found:
            restructured()
        return bool(found)

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a name is text, not {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f"{name!r} cannot name a part of a module: give a name that is not empty and has no dots")
        if name in _own_names or (self._names_are_attributes and hasattr(type(self), name)):
            raise KeyError(f"{name!r} is an attribute of the class {type(self).__name__}; take another name")

    def _register(self, table: dict[str, T], name: str, value: T) -> None:
        self._check_name(name)
        if name not in table:
            self._forget(name)
        self.__dict__.pop(name, None)
        table[name] = value
        restructured()

    def register_parameter(self, name: str, param: Parameter) -> None:
        """What `self.name = Parameter(...)` does."""
        if not isinstance(param, Parameter):
            raise TypeError(f"{name!r} is of type {type(param).__name__}; wrap the value in nn.Parameter(...)")
        self._register(self._parameters, name, param)

    def register_buffer(self, name: str, value: Any, *, persistent: bool = True) -> None:
        """A constant that is saved but not optimised; `persistent=False` keeps it out of the state dict.

        Raises TypeError for a value that no state file can hold.
        """
        self._register(self._buffers, name, Buffer(self._buffer_value(name, value)))
        if persistent:
            self._non_persistent.discard(name)
        else:
            self._non_persistent.add(name)

    def _buffer_value(self, name: str, value: Any) -> Any:
        try:
            return state_value(value, f"the buffer {name!r}")
        except NotJson as error:
            raise NotJson(f"{type(self).__name__}: {error}") from None

    def register_module(self, name: str, module: "Module") -> None:
        """What `self.name = module` does."""
        if not isinstance(module, Module):
            raise TypeError(f"{name!r} is of type {type(module).__name__}, not a Module")
        self._register(self._modules, name, module)

    add_module = register_module

    # --- state -----------------------------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Any]:
        """All saved values by dotted key: own parameters, own buffers, then children. Copies throughout."""
        return _state.collect(self, prefix)

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, *, rename: Mapping[str, str] | None = None
    ) -> _state.LoadReport:
        """Check every key and kind, then publish all values at once.

        `rename` is {"old.": "new."} for all keys that begin so, {"old": "new"} for one. Raises StateDictError, with
        every problem and before any change; `strict=False` loads what fits and reports the rest.
        """
        return _state.load(self, _state.renamed(state, rename or {}), strict)

    def transaction(self) -> AbstractContextManager[None]:
        """Publish everything that is assigned in the `with` block at once, at its end; nothing where it raises.

        The block reads what it has assigned so far; everybody else reads the old values until its end.
        """
        return transaction()

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Move all tensors to a device, convert floats to a dtype, or both, in one publish; other values stay.

        `to(mt.float16)` works. Gradients go along.
        """
        _state.move(self, device, dtype)
        return self

    def cpu(self) -> Self:
        return self.to("cpu")

    def digest(self) -> str:
        """A hash of the state, 16 hex digits: equal states, equal digests, in any process."""
        return _state.digest(self)

    def extra_repr(self) -> str:
        """What `repr` shows of this module beside its name and children."""
        return ""

    def __repr__(self) -> str:
        return tree_repr(self)


_not_copied = {"_digest", "_choose_overlay", "_deployed", "_eval_result", "_made_in"}
# What each module keeps itself, beside what it is given.
_own_names = {*Module.__annotations__, *Lifecycle.__annotations__, *_not_copied}


def _holds_modules(name: str, value: Any) -> bool:
    items = list(value.values() if isinstance(value, dict) else value)
    modules = sum(isinstance(item, Module) for item in items)
    if 0 < modules < len(items):
        warnings.warn(
            f"{name!r} mixes Modules with other values, so its modules are not registered: they are in no state dict. "
            "Use nn.ModuleList or nn.ModuleDict for them.",
            UserWarning,
            stacklevel=3,
        )
    if any(isinstance(item, StateValue) and item.requires_grad and _is_free(item) for item in items):
        warnings.warn(
            f"{name!r} holds tensors to be trained, which are not registered: they are in no state dict, and no "
            "optimiser finds them. Give each a name of its own: self.register_parameter(name, nn.Parameter(tensor)).",
            UserWarning,
            stacklevel=3,
        )
    return 0 < modules == len(items)


def _is_free(value: StateValue) -> bool:
    """Whether a tensor is in no state yet, and not what an operation made."""
    return value.is_leaf and value.cell is None
