"""Hooks around a module's call, for one module or for all.

A pre hook `hook(module, args, kwargs)` returns None or the `(args, kwargs)` to go on with. A hook
`hook(module, args, kwargs, output)` returns None or a new output. Both may be `async def`, through either door.
"""

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from msgflow._bridge import shielded
from msgflow._leaf import resolved

if TYPE_CHECKING:
    from msgflow.nn.module import Module

Hook = Callable[..., Any]
_ids = itertools.count()


class HookTable(OrderedDict[int, Hook]):
    """Hooks in the order in which they run, by id; `always` are the ids that run after a failure, too."""

    def __init__(self) -> None:
        super().__init__()
        self.always: set[int] = set()

    def register(self, hook: Hook, *, prepend: bool, always_call: bool = False) -> "RemovableHandle":
        if not callable(hook):
            raise TypeError(f"a hook is a function, not {type(hook).__name__}")
        handle = RemovableHandle(self)
        self[handle.id] = hook
        if prepend:
            self.move_to_end(handle.id, last=False)
        if always_call:
            self.always.add(handle.id)
        return handle

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_table, (list(self.items()), set(self.always))


def _rebuild_table(items: list[tuple[int, Hook]], always: set[int]) -> HookTable:
    table = HookTable()
    table.update(items)
    table.always = always
    return table


class RemovableHandle:
    """Takes one hook off again: by `remove()`, any number of times, or at the end of a `with` block."""

    def __init__(self, table: HookTable) -> None:
        # A table that was unpickled holds ids of another process.
        self.id = next(number for number in _ids if number not in table)
        self._table = table

    def remove(self) -> None:
        self._table.pop(self.id, None)
        self._table.always.discard(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


all_pre_hooks = HookTable()
all_hooks = HookTable()


def register_module_forward_pre_hook(hook: Hook, *, prepend: bool = False) -> RemovableHandle:
    """Run a pre hook before every module's own."""
    return all_pre_hooks.register(hook, prepend=prepend)


def register_module_forward_hook(hook: Hook, *, prepend: bool = False, always_call: bool = False) -> RemovableHandle:
    """Run a hook before every module's own; `always_call` runs it after a failure, too, with None as output."""
    return all_hooks.register(hook, prepend=prepend, always_call=always_call)


def is_hooked(module: "Module") -> bool:
    """Whether any hook, of its own or for all modules, runs around a module's call."""
    return bool(module._forward_pre_hooks or module._forward_hooks or all_hooks or all_pre_hooks)


def run_with_hooks(module: "Module", run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Pre hooks, the call itself, hooks; after a failure the hooks that are always called and have not run yet."""
    if not is_hooked(module):
        return run(args, kwargs)
    ran: set[int] = set()
    output = None
    try:
        for pre_hook in (*all_pre_hooks.values(), *module._forward_pre_hooks.values()):
            args, kwargs = _changed_arguments(pre_hook, resolved(pre_hook(module, args, kwargs)), args, kwargs)
        output = run(args, kwargs)
        for table in (all_hooks, module._forward_hooks):
            for hook_id, hook in tuple(table.items()):
                ran.add(hook_id)
                changed = resolved(hook(module, args, kwargs, output))
                output = output if changed is None else changed
    except BaseException:
        for table in (all_hooks, module._forward_hooks):
            for hook in [hook for hook_id, hook in table.items() if hook_id in table.always - ran]:
                _run_after_failure(hook, module, args, kwargs, output)
        raise
    return output


def _run_after_failure(
    hook: Hook, module: "Module", args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> None:
    try:
        with shielded():
            resolved(hook(module, args, kwargs, output))
    except Exception as error:
        # The first failure is what the caller must see; this one must not replace it, nor vanish.
        warnings.warn(
            f"an always_call hook of {type(module).__name__} failed, too: {error!r}", RuntimeWarning, stacklevel=2
        )


def _changed_arguments(
    hook: Hook, changed: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if changed is None:
        return args, kwargs
    if isinstance(changed, tuple) and len(changed) == 2:
        new_args, new_kwargs = changed
        if isinstance(new_args, tuple) and isinstance(new_kwargs, dict):
            return new_args, new_kwargs
    raise TypeError(
        f"the pre hook {getattr(hook, '__name__', hook)!r} returned {changed!r:.80}; "
        "a pre hook returns None, or a tuple of arguments and a dict of keyword arguments"
    )
