"""Many calls at once, a call with a time limit, a call that runs on by itself. `import msgflow.nn.functional as F`.

What is called is a Module, an `async def` or a plain function; a plain function runs in a worker thread, unless
`@mf.nonblocking` marks it. Everything is written once, as `async def a...`; the name without the `a` waits for it, in
plain code as in a `def forward`, at any nesting.

A timeout is in seconds and cancels what is still running; a function in a worker thread cannot be interrupted, so
nothing waits for it any longer, and the msgflow calls inside it are cancelled. Context variables flow in.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import anyio

from msgflow._bridge import Launched, gather, launch, wait
from msgflow._leaf import call_leaf
from msgflow._limits import count_or_none, seconds_or_none

__all__ = [
    "Spawned",
    "TaskError",
    "abcast_gather",
    "amap_gather",
    "ascatter_gather",
    "aspawn",
    "await_for",
    "bcast_gather",
    "map_gather",
    "scatter_gather",
    "spawn",
    "wait_for",
]

Callee: TypeAlias = Callable[..., Any]
ArgsList: TypeAlias = Sequence[Sequence[Any]]
KwargsList: TypeAlias = Sequence[Mapping[str, Any]]

_log = logging.getLogger(__name__.replace(".nn.", "."))


@dataclass(frozen=True, slots=True)
class TaskError:
    """Stands where the result of the call with that index would, for `return_exceptions=True`. It is falsy."""

    exception: Exception
    index: int

    def __bool__(self) -> Literal[False]:
        return False


# --- many calls at once ----------------------------------------------------------------------------------------------


async def amap_gather(
    f: Callee,
    /,
    *,
    args_list: ArgsList | None = None,
    kwargs_list: KwargsList | None = None,
    timeout: float | None = None,
    return_exceptions: bool = False,
    limit: int | None = None,
) -> tuple[Any, ...]:
    """Call one function with many sets of arguments at once, at most `limit` at a time; the results in order.

    `args_list` holds a tuple of arguments for each call, `kwargs_list` a dict of keyword arguments; where both are
    given, they are of one length. One failure cancels the others and is raised as it is. With `return_exceptions`,
    a TaskError stands for each call that failed or was not done in time.

    Raises TimeoutError where not all calls are done in time.
    """
    rows = _rows(args_list, kwargs_list)
    given = rows[0] if rows[0] is not None else rows[1]
    if given is None:
        raise TypeError("there is nothing to call with: give args_list=[(1,), (2,)], kwargs_list=[{'x': 1}], or both")
    return await _all([_checked(f)] * len(given), *rows, timeout, return_exceptions, limit)


def map_gather(
    f: Callee,
    /,
    *,
    args_list: ArgsList | None = None,
    kwargs_list: KwargsList | None = None,
    timeout: float | None = None,
    return_exceptions: bool = False,
    limit: int | None = None,
) -> tuple[Any, ...]:
    """As `await amap_gather(...)`, for plain code and a `def forward`."""
    return wait(
        amap_gather(
            f,
            args_list=args_list,
            kwargs_list=kwargs_list,
            timeout=timeout,
            return_exceptions=return_exceptions,
            limit=limit,
        )
    )


async def ascatter_gather(
    functions: Sequence[Callee],
    args_list: ArgsList | None = None,
    kwargs_list: KwargsList | None = None,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
) -> tuple[Any, ...]:
    """Call each function with its own arguments at once; the results in order.

    `args_list[i]` and `kwargs_list[i]` are for `functions[i]`, so a list that is given has as many entries. Failures
    and timeouts are as in `map_gather`.
    """
    rows = _rows(args_list, kwargs_list)
    return await _all(_functions(functions), *rows, timeout, return_exceptions)


def scatter_gather(
    functions: Sequence[Callee],
    args_list: ArgsList | None = None,
    kwargs_list: KwargsList | None = None,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
) -> tuple[Any, ...]:
    """As `await ascatter_gather(...)`, for plain code and a `def forward`."""
    return wait(
        ascatter_gather(functions, args_list, kwargs_list, timeout=timeout, return_exceptions=return_exceptions)
    )


async def abcast_gather(
    functions: Sequence[Callee],
    /,
    *args: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Call all functions with the same arguments at once; the results in order.

    Failures and timeouts are as in `map_gather`. A function that itself takes `timeout` or `return_exceptions` gets
    it by `functools.partial(f, timeout=3)`, or from `scatter_gather`.
    """
    listed = _functions(functions)
    return await _all(listed, [args] * len(listed), [kwargs] * len(listed), timeout, return_exceptions)


def bcast_gather(
    functions: Sequence[Callee],
    /,
    *args: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """As `await abcast_gather(...)`, for plain code and a `def forward`."""
    return wait(abcast_gather(functions, *args, timeout=timeout, return_exceptions=return_exceptions, **kwargs))


async def _all(
    functions: Sequence[Callee],
    args_list: ArgsList | None,
    kwargs_list: KwargsList | None,
    timeout: float | None,
    return_exceptions: bool,
    limit: int | None = None,
) -> tuple[Any, ...]:
    seconds, count, outcomes = seconds_or_none(timeout, "timeout"), len(functions), dict[int, Any]()
    count_or_none(limit)
    for name, rows in (("args_list", args_list), ("kwargs_list", kwargs_list)):
        if rows is not None and len(rows) != count:
            raise ValueError(f"{name} has {len(rows)} entries for {count} calls; give one for each call")

    async def call(index: int) -> None:
        args = () if args_list is None else args_list[index]
        kwargs = {} if kwargs_list is None else kwargs_list[index]
        try:
            outcomes[index] = await call_leaf(functions[index], *args, **kwargs)
        except Exception as error:
            if not return_exceptions:
                raise
            outcomes[index] = TaskError(error, index)

    calls: list[Callable[[], Awaitable[None]]] = [partial(call, index) for index in range(count)]
    with anyio.move_on_after(seconds):
        await gather(calls, limit=limit, lone_in_place=False)
    late = [index for index in range(count) if index not in outcomes]
    if late and not return_exceptions:
        raise TimeoutError(f"{len(late)} of {count} calls were not done within {seconds} s")
    for index in late:
        outcomes[index] = TaskError(TimeoutError(f"call {index} was not done within {seconds} s"), index)
    return tuple(outcomes[index] for index in range(count))


# --- one call --------------------------------------------------------------------------------------------------------


async def await_for(f: Callee, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """The result of one call within a time limit. What it raises is raised as it is.

    Raises TimeoutError where it is not done in time. A function that itself takes `timeout` gets it by
    `functools.partial(f, timeout=3)`.
    """
    seconds, function = seconds_or_none(timeout, "timeout"), _checked(f)
    with anyio.move_on_after(seconds):
        return await call_leaf(function, *args, **kwargs)
    raise TimeoutError(f"{_named(f)} was not done within {seconds} s")


def wait_for(f: Callee, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """As `await await_for(...)`, for plain code and a `def forward`."""
    return wait(await_for(f, *args, timeout=timeout, **kwargs))


class Spawned:
    """A call that runs on by itself."""

    __slots__ = ("_launched", "_name")

    def __init__(self, name: str, launched: Launched) -> None:
        self._name, self._launched = name, launched

    def done(self) -> bool:
        """Whether it has ended: with a result, with a failure, or cancelled."""
        return self._launched.ended

    def cancel(self) -> None:
        """Cancel it soon, from any thread; returns at once."""
        self._launched.give_up()

    def __repr__(self) -> str:
        return f"<Spawned {self._name}, {'done' if self.done() else 'running'}>"


def spawn(f: Callee, /, *args: Any, **kwargs: Any) -> Spawned:
    """Start a call and go on without it. Its result is dropped; what it raises is logged by "msgflow.functional".

    It runs on the running event loop, or in plain code on the one in the background, and does not keep the
    interpreter from exiting.
    """
    return Spawned(_named(f), launch(_logged(_checked(f), args, kwargs)))


async def aspawn(f: Callee, /, *args: Any, **kwargs: Any) -> Spawned:
    """As `spawn`, for async code."""
    return spawn(f, *args, **kwargs)


async def _logged(f: Callee, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    try:
        await call_leaf(f, *args, **kwargs)
    except Exception:
        _log.exception("the spawned call of %s failed", _named(f))


# --- what is refused -------------------------------------------------------------------------------------------------


def _named(f: Callee) -> str:
    return getattr(f, "__qualname__", type(f).__name__)


def _checked(f: Any, place: str = "f") -> Callee:
    if isinstance(f, type) and hasattr(f, "acall"):
        raise TypeError(f"{place} is the class {f.__name__}; give a module, such as {f.__name__}()")
    if not callable(f):
        raise TypeError(f"{place} is {f!r:.80} of type {type(f).__name__}; give a Module or a function, not yet called")
    return f  # type: ignore[no-any-return]  # callable() narrows to a function of object


def _functions(functions: Any) -> list[Callee]:
    if not isinstance(functions, list | tuple):
        raise TypeError(f"the functions are a list or tuple of Modules and functions, not {_shown(functions)}")
    return [_checked(f, f"functions[{index}]") for index, f in enumerate(functions)]


def _rows(args_list: Any, kwargs_list: Any) -> tuple[ArgsList | None, KwargsList | None]:
    for name, rows, kind, example in (
        ("args_list", args_list, list | tuple, "a tuple of arguments, such as (x,)"),
        ("kwargs_list", kwargs_list, Mapping, "a dict of keyword arguments"),
    ):
        if rows is not None and not isinstance(rows, list | tuple):
            raise TypeError(f"{name} is a list that has {example} for each call, not {_shown(rows)}")
        for index, row in enumerate(rows or ()):
            if not isinstance(row, kind):
                raise TypeError(f"{name}[{index}] is {_shown(row)}; give {example}")
    return args_list, kwargs_list


def _shown(value: object) -> str:
    return f"{value!r:.80} of type {type(value).__name__}"
