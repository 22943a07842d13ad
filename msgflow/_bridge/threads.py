"""Worker threads for what really blocks: as many as there is work for at once."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from msgflow._bridge.background import Job, job_of_thread
from msgflow._version_clock import Held

T = TypeVar("T")

IDLE_THREAD_S = 10.0


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
                # Without this frame, which has the future: the two would hold each other.
                future.set_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))

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


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.idle.clear)


async def in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call a function that really blocks, in a worker thread; context variables flow in.

    A thread cannot be interrupted: on cancellation the caller goes on at once, the thread finishes on its own and with
    the version that it began with, and every msgflow call that it waits for is cancelled.
    """
    job, held = Job(), Held()
    held.context.run(job_of_thread.set, job)

    def run() -> T:
        try:
            return held.context.run(function, *args, **kwargs)
        finally:
            held.release()

    running = asyncio.get_running_loop().run_in_executor(_threads, run)
    try:
        return await running
    except asyncio.CancelledError:
        job.give_up()
        raise
    finally:
        del running  # else an error, its traceback, this frame and the future would hold each other
