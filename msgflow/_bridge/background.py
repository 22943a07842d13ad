"""Waiting from anywhere: in a Flow by suspending it, elsewhere on the one background event loop."""

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from inspect import iscoroutine
from typing import Any, TypeVar

import anyio

from msgflow._bridge.branches import cleaning_up
from msgflow._bridge.flows import Work, current_flow, flow_task
from msgflow._version_clock import Held
from msgflow.errors import BridgeError

T = TypeVar("T")


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
                    loop.set_task_factory(flow_task)  # type: ignore[arg-type]  # typeshed asks for an overload set
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
    job = job_of_thread.get()
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
    try:
        return tasks[0].result()
    finally:
        tasks.clear()  # else an error, its traceback, this frame and the task would hold each other


class Job:
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


job_of_thread: contextvars.ContextVar[Job | None] = contextvars.ContextVar("msgflow_job", default=None)


@contextmanager
def shielded() -> Iterator[None]:
    """Here a clean-up may still wait, although the call that it cleans up after was cancelled.

    A time limit cancels again at each wait, and so does the end of a worker thread's job.
    """
    token = job_of_thread.set(None)
    try:
        if current_flow() is None:
            yield
        else:
            with cleaning_up(), anyio.CancelScope(shield=True):
                yield
    finally:
        job_of_thread.reset(token)


class Launched:
    """A task of its own, which any thread may give up. It keeps the version that it was launched under.

    `at_end` is called when it has ended, even where it was cancelled before its first step.
    """

    def __init__(
        self,
        work: Work[object],
        held: Held,
        at_end: Callable[[], object] = bool,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.ended = False
        self.loop = loop or asyncio.get_running_loop()
        self._work, self._held, self._at_end = work, held, at_end
        if asyncio._get_running_loop() is self.loop:
            self._start()
        else:
            self.loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        _launched.add(self)  # a loop by itself holds its tasks weakly
        self.task = self.loop.create_task(self._work, context=self._held.context)
        self.task.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        _launched.discard(self)
        self.ended = True
        self._held.release()
        self._at_end()

    @property
    def is_here(self) -> bool:
        return asyncio.get_running_loop() is self.loop

    def give_up(self) -> None:
        """Cancel it soon; returns at once."""
        with suppress(RuntimeError):  # a loop that is closed has cancelled its tasks already
            self.loop.call_soon_threadsafe(lambda: self.task.cancel())

    async def end(self) -> None:
        """Cancel it and wait until it has cleaned up; awaited on its own loop."""
        self.task.cancel()
        await asyncio.wait([self.task])


_launched: set[Launched] = set()
os.register_at_fork(after_in_child=_launched.clear)


def launch(work: Work[object], *, background: bool = False) -> Launched:
    """Run a coroutine while the caller goes on: on the running loop, or on the background loop where there is none.

    `background` asks for the background loop, which outlives every `asyncio.run`. Nobody sees what the work raises, so
    it has to catch that itself.
    """
    here = None if background else asyncio._get_running_loop()
    return Launched(work, Held(), loop=here or _background.loop())
