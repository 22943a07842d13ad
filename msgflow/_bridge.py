"""The only place where blocking and async code meet.

A composite is written once, as a plain `def forward`, and serves both doors. The trick is a greenlet:

    module(x)                 plain code          `forward` is simply called
    await module.acall(x)     on an event loop    `forward` runs in a Flow, a greenlet of its own; what has to be
                                                  waited for inside it is handed to the loop, and meanwhile other
                                                  tasks run

Everything rests on one function, `wait(awaitable)`, which returns the result wherever it is called:

    inside a Flow             the coroutine is stepped on the Flow's own stack; each future that it waits for is
                              switched out to the task that carries the Flow, which yields it to the loop
    anywhere else             the coroutine runs on the one background loop thread and the caller blocks

Nested calls stay in their root's Flow: one greenlet a task. Tasks of the background loop are Flows from the start, so
blocking calls inside async code there suspend, too, and nothing can wait for itself. Worker threads are unbounded: in
a bounded pool, calls that nest exhaust it and hang.
"""

import asyncio
import atexit
import contextvars
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Executor, Future
from contextlib import suppress
from inspect import iscoroutine
from queue import Empty, SimpleQueue
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
IDLE_THREAD_S = 10.0
IDLE_FLOWS = 4096  # kept a thread, at about 8 KB each


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
    flow = idle.pop() if idle else Flow()
    flow.task, flow.work, flow.holder, flow.since = task, (function, args, kwargs), None, monotonic()
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
    if len(idle) < IDLE_FLOWS:
        idle.append(flow)
    return cast(T, flow.take())


def wait(awaitable: Awaitable[T]) -> T:
    """The result of an awaitable, from plain code, from inside a Flow, and from a thread whose loop is running."""
    work: Work[T] = awaitable if iscoroutine(awaitable) else _awaited(awaitable)
    flow = current_flow()
    return flow.wait(work) if flow is not None else _block_on(work)


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _Background:
    """An event loop on a daemon thread, started on first use and ended at interpreter exit."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        if self.running is None:
            with self.lock:
                if self.running is None:
                    loop = asyncio.new_event_loop()
                    loop.set_task_factory(_flow_task)  # type: ignore[arg-type]  # typeshed asks for an overload set
                    self.thread = threading.Thread(target=self._run, args=(loop,), name="msgflow", daemon=True)
                    self.thread.start()
                    self.running = loop
        return self.running

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
                break
            except (SystemExit, KeyboardInterrupt):
                continue  # asyncio has given it to the task that raised it, where the caller finds it
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=5.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def stop(self) -> None:
        loop, thread, self.running, self.thread = self.running, self.thread, None, None
        if loop is not None and thread is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=10.0)

    def forget(self) -> None:  # a forked child has the loop object but not its thread
        self.lock, self.running, self.thread = threading.Lock(), None, None


def _flow_task(loop: asyncio.AbstractEventLoop, work: Work[T], **options: Any) -> "asyncio.Task[T]":
    task = asyncio.Task(_enter(work), loop=loop, **options)
    # A task that is cancelled before its first step never starts `work`; closing it spares the warning.
    task.add_done_callback(lambda _: work.close())
    return task


async def _enter(work: Work[T]) -> T:
    return cast(T, await in_flow(wait, (work,), {}))


_background = _Background()
atexit.register(_background.stop)
os.register_at_fork(after_in_child=_background.forget)


def _block_on(work: Work[T]) -> T:
    """Run a coroutine on the background loop; Ctrl-C here, or the end of the job, cancels it there."""
    loop = _background.loop()
    if asyncio._get_running_loop() is loop:
        work.close()
        raise BridgeError(
            "a blocking call in a callback of msgflow's own event loop would wait for itself; "
            "make the call in a task, or with `await module.acall(...)`"
        )
    job = _job.get()
    done = threading.Lock()
    done.acquire()
    tasks: list[asyncio.Task[T]] = []
    context = contextvars.copy_context()

    def start() -> None:
        task = loop.create_task(work, context=context)
        tasks.append(task)
        task.add_done_callback(lambda _: done.release())
        if job is not None:
            job.watch(task)

    loop.call_soon_threadsafe(start)
    try:
        done.acquire()
    except BaseException:
        loop.call_soon_threadsafe(lambda: tasks[0].cancel())
        done.acquire()  # until the work has cleaned up; a second Ctrl-C leaves at once
        raise
    return tasks[0].result()


class Launched:
    """A task of its own on the running loop, which any thread may give up.

    `at_end` is called when it has ended, even where it was cancelled before its first step.
    """

    def __init__(self, work: Work[None], context: contextvars.Context, at_end: Callable[[], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(work, context=context)
        self.task.add_done_callback(lambda _: at_end())

    @property
    def is_here(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    def give_up(self) -> None:
        """Cancel it soon; returns at once."""
        with suppress(RuntimeError):  # a loop that is closed has cancelled its tasks already
            self.loop.call_soon_threadsafe(self.task.cancel)

    async def end(self) -> None:
        """Cancel it and wait until it has cleaned up; awaited on its own loop."""
        self.task.cancel()
        await asyncio.wait([self.task])


class _Threads(Executor):
    """As many daemon threads as there is work for at once, each kept for the next for a while."""

    def __init__(self) -> None:
        self.idle: deque[SimpleQueue[Callable[[], None]]] = deque()

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*args, **kwargs))
            except StopIteration as error:
                failure = RuntimeError(f"{function!r} raised StopIteration, which no future takes")
                failure.__cause__ = error
                future.set_exception(failure)
            except BaseException as error:
                future.set_exception(error)

        try:
            self.idle.pop().put(run)
        except IndexError:
            inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
            inbox.put(run)
            threading.Thread(target=self._serve, args=(inbox,), name="msgflow worker", daemon=True).start()
        return future

    def _serve(self, inbox: "SimpleQueue[Callable[[], None]]") -> None:
        while True:
            try:
                inbox.get(timeout=IDLE_THREAD_S)()
            except Empty:
                try:
                    self.idle.remove(inbox)
                    return
                except ValueError:  # taken from the idle ones just now, so work is on its way
                    continue
            self.idle.append(inbox)


class _Job:
    """What one piece of work in a worker thread is waiting for, so that giving it up gives that up as well."""

    def __init__(self) -> None:
        self.given_up = False
        self.tasks: set[asyncio.Task[Any]] = set()

    def watch(self, task: "asyncio.Task[Any]") -> None:
        """Runs on the background loop, as everything that touches `tasks`."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.given_up:
            task.cancel()

    def give_up(self) -> None:
        self.given_up = True
        _background.loop().call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        for task in tuple(self.tasks):
            task.cancel()


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.idle.clear)
_job: contextvars.ContextVar[_Job | None] = contextvars.ContextVar("msgflow_job", default=None)


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function that really blocks, in a worker thread; context variables flow in.

    A thread cannot be interrupted: on cancellation the caller goes on at once, the thread finishes on its own, and
    every msgflow call that it waits for is cancelled.
    """
    job = _Job()
    context = contextvars.copy_context()
    context.run(_job.set, job)
    running = asyncio.get_running_loop().run_in_executor(_threads, lambda: context.run(function, *args, **kwargs))
    try:
        return await running
    except asyncio.CancelledError:
        job.give_up()
        raise
