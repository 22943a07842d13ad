"""Flows: greenlets that carry calls on an event loop, so that plain code in them can wait without blocking."""

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from time import monotonic
from types import coroutine
from typing import Any, TypeAlias, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

from msgflow.errors import BridgeError

T = TypeVar("T")
Work: TypeAlias = Coroutine[Any, Any, T]

running_loop = asyncio.get_running_loop  # for others, as a key of what belongs to a loop
EAGER = sys.version_info >= (3, 12)  # whether asyncio can start tasks eagerly
DONE = object()  # what a Flow switches out when its call has ended
HELD_LIMIT_S = 1.0
IDLE_FLOWS = 4096  # kept a thread, at about 8 KB each
SHALLOW = 200  # frames below which a Flow that was made there is used again


class Flow(greenlet):
    """A greenlet that carries one call under `acall`, and then the next: making one costs more than the call.

    `holder` is the object whose code is running, `since` when it began to hold the loop (time.monotonic).
    """

    parent: greenlet  # a Flow is never a thread's main greenlet, which alone has none
    task: "asyncio.Task[Any]"
    work: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
    result: Any
    failure: BaseException | None
    holder: object
    since: float
    is_kept: bool

    def run(self) -> None:
        while True:
            function, args, kwargs = self.work
            try:
                self.result, self.failure = function(*args, **kwargs), None
            except GreenletExit:
                raise
            except BaseException as error:
                self.result, self.failure = None, error
            del function, args, kwargs, self.work
            self.parent.switch(DONE)

    def take(self) -> Any:
        """What the call returned or raised."""
        result, error, self.result, self.failure = self.result, self.failure, None, None
        if error is None:
            return result
        try:
            raise error
        finally:
            del error  # else its traceback and this frame would hold each other

    def hand_over(self, owner: object) -> object:
        """From here on code of `owner` runs; returns whose code did."""
        now, outer = monotonic(), self.holder
        if now - self.since > HELD_LIMIT_S:
            self.warn(now)
        self.since, self.holder = now, owner
        return outer

    def warn(self, now: float) -> None:
        """Say whose code has held up every other task on the loop."""
        if self.holder is not None and self.since > _excused[0]:
            name = type(self.holder).__name__
            warnings.warn(
                f"{name}.forward held the event loop for {now - self.since:.1f} s, and nothing else ran meanwhile. Set "
                f"`blocking = True` on {name} to run it in a worker thread, or write it as `async def aforward`.",
                RuntimeWarning,
                stacklevel=4,
            )

    def wait(self, work: Work[T]) -> T:
        """Step a coroutine to its end on this greenlet's stack; the loop runs on while it is suspended."""
        try:
            wish = work.send(None)
            while True:
                now = monotonic()
                if now - self.since > HELD_LIMIT_S:
                    self.warn(now)
                try:
                    answer = self.parent.switch(wish)
                except BaseException as error:
                    self.since = monotonic()
                    wish = work.throw(error)
                else:
                    self.since = monotonic()
                    wish = work.send(answer)
        except StopIteration as stop:
            return cast(T, stop.value)
        finally:
            wish = None  # else a future's error, its traceback, this frame and the future would hold each other


_excused = [0.0]


def excuse() -> None:
    """Blame nobody for the time until now: a library has held the interpreter's lock, in whatever thread."""
    _excused[0] = monotonic()


class _Idle(threading.local):
    """The Flows of a thread that wait for their next call. A greenlet cannot change threads."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []


_idle = _Idle()


def current_flow() -> Flow | None:
    """The Flow that this code runs in, or None in plain code.

    A task that asyncio starts eagerly borrows the stack of the task that made it, and with it its greenlet;
    switching that greenlet out would suspend the wrong task. So the task has to match as well.
    """
    flow = getcurrent()
    return flow if type(flow) is Flow and (not EAGER or flow.task is asyncio.current_task()) else None


@coroutine
def in_flow(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, T]:
    """Call a plain function so that every `wait` inside it suspends this task instead of blocking its thread."""
    if current_flow() is not None:
        return function(*args, **kwargs)
    task = asyncio.current_task()
    if task is None:
        raise BridgeError("acall was awaited outside of a task; use asyncio.run, or `module(x)` in plain code")
    idle = _idle.flows
    if idle:
        flow = idle.pop()
    else:
        flow = Flow()
        flow.is_kept = _is_shallow()
    flow.task, flow.work, flow.holder, flow.since = task, (function, args, kwargs), None, monotonic()
    del task  # else an error of the call, its traceback, this frame and the task would hold each other
    # One Context for the task and its Flow: a variable set in either is seen in both, as in any coroutine.
    flow.parent = getcurrent()
    flow.gr_context = flow.parent.gr_context
    wish = flow.switch()
    while wish is not DONE:
        try:
            answer = yield wish
        except BaseException as error:
            # Return to whoever resumes it: a task that was started eagerly goes on from another greenlet.
            flow.parent = getcurrent()
            wish = flow.throw(error)
        else:
            flow.parent = getcurrent()
            wish = flow.switch(answer)
    if flow.is_kept and len(idle) < IDLE_FLOWS:
        del flow.task
        flow.gr_context = None  # else it would keep the result and the context of this call until the next
        idle.append(flow)
    return cast(T, flow.take())


def _is_shallow() -> bool:
    """Whether there is stack enough here. A greenlet counts, for ever, from the depth at which it first ran."""
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None and depth <= SHALLOW:
        frame, depth = frame.f_back, depth + 1
    return depth <= SHALLOW and type(getcurrent()) is not Flow


def flow_task(loop: asyncio.AbstractEventLoop, work: Work[T], **options: Any) -> "asyncio.Task[T]":
    """A task that is a Flow from the start: the task factory of the background loop."""
    task = asyncio.Task(_enter(work), loop=loop, **options)
    # A task that is cancelled before its first step never starts `work`; closing it spares the warning.
    task.add_done_callback(lambda _: work.close())
    return task


async def _enter(work: Work[T]) -> T:
    return cast(T, await in_flow(_step, (work,), {}))


def _step(work: Work[T]) -> T:
    return cast(Flow, current_flow()).wait(work)
