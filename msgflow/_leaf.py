"""Calling what users hand in as a tool or a step, whatever it is."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

from msgflow._bridge import in_thread, wait

T = TypeVar("T")


def nonblocking(function: Callable[..., T]) -> Callable[..., T]:
    """Mark a plain function that neither blocks nor takes long: as a tool or step it is called in place."""
    try:
        function.__msgflow_nonblocking__ = True  # type: ignore[attr-defined]
    except (AttributeError, TypeError):  # a built-in or a bound method takes no marks
        function = partial(function)
        function.__msgflow_nonblocking__ = True  # type: ignore[attr-defined]
    return function


def is_nonblocking(function: Callable[..., Any]) -> bool:
    """Whether a function, or what it is a `functools.partial` of, is marked."""
    while not getattr(function, "__msgflow_nonblocking__", False):
        if not isinstance(function, partial):
            return False
        function = function.func
    return True


def resolved(result: Any) -> Any:
    """What a function has returned, from plain code and inside a Flow: an `async def` returns an awaitable first."""
    return wait(result) if isawaitable(result) else result


async def call_leaf(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a tool or a step, whatever it is: a Module, an `async def`, a plain function (in a worker thread)."""
    if hasattr(function, "acall"):
        return await function.acall(*args, **kwargs)
    if iscoroutinefunction(function) or is_nonblocking(function):
        result = function(*args, **kwargs)
    else:
        result = await in_thread(function, *args, **kwargs)
    return await result if isawaitable(result) else result
