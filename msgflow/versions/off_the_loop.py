"""Calls that block, from plain code and from inside of a running flow."""

from collections.abc import Callable
from typing import Any, TypeVar

from msgflow._bridge import current_flow, in_thread, wait

T = TypeVar("T")


def off_the_loop(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """The result of a function that blocks; inside a Flow the event loop goes on meanwhile."""
    if current_flow() is None:
        return function(*args, **kwargs)
    return wait(in_thread(function, *args, **kwargs))
