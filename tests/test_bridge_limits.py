"""Cancellation, Ctrl-C, threads, processes: what may end a call from outside."""

import asyncio
import os
import sys
import threading
import time

import pytest

import msgflow.nn as nn
from msgflow import _bridge
from msgflow._once import once
from tests.in_python import run_script


class AsyncLeaf(nn.Module):
    async def aforward(self, x):
        await asyncio.sleep(0)
        return [*x, "async"]


class Twice(nn.Module):
    def __init__(self, child):
        super().__init__()
        self.child = child

    def forward(self, x):
        return self.child(self.child(x))


async def test_cancelling_acall_cancels_what_it_waits_for_and_runs_cleanup():
    events = []

    class Slow(nn.Module):
        async def aforward(self):
            events.append("begun")
            try:
                await asyncio.sleep(30)
            finally:
                await asyncio.sleep(0)
                events.append("cleaned up")

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.slow = Slow()

        def forward(self):
            try:
                return self.slow()
            finally:
                events.append("outer left")

    task = asyncio.create_task(Outer().acall())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["begun", "cleaned up", "outer left"]


@pytest.mark.parametrize("step", range(6))
async def test_cancellation_at_every_await_reaches_the_code_that_waits(step):
    left = []

    class Steps(nn.Module):
        async def aforward(self):
            for number in range(6):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    left.append(number)
                    raise

    task = asyncio.create_task(Twice(Steps()).child.acall())
    for _ in range(step + 1):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(left) <= 1 and task.cancelled()


async def test_cancelling_acall_gives_up_a_worker_thread_and_cancels_what_that_waits_for():
    cancelled = threading.Event()

    class Slow(nn.Module):
        async def aforward(self):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    class InThread(nn.Module):
        blocking = True

        def __init__(self):
            super().__init__()
            self.slow = Slow()

        def forward(self):
            return self.slow()

    task = asyncio.create_task(InThread().acall())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 5)


async def test_a_call_begun_by_work_that_was_given_up_is_cancelled_at_once():
    go, outcome = threading.Event(), []

    class Late(nn.Module):
        blocking = True

        def forward(self):
            go.wait(5)
            try:
                AsyncLeaf()([])
            except asyncio.CancelledError:
                outcome.append("cancelled")

    task = asyncio.create_task(Late().acall())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    for _ in range(100):
        if outcome:
            break
        await asyncio.sleep(0.02)
    assert outcome == ["cancelled"]


def test_nested_blocking_calls_never_exhaust_the_threads():
    """Thirty levels of worker threads and background loop, alternating."""

    class Down(nn.Module):
        blocking = True

        def forward(self, depth):
            return 0 if depth == 0 else 1 + Across()(depth - 1)

    class Across(nn.Module):
        async def aforward(self, depth):
            return 0 if depth == 0 else 1 + await Down().acall(depth - 1)

    assert Across()(30) == 30


def test_many_threads_may_call_at_once():
    results, composite = [], Twice(AsyncLeaf())
    threads = [threading.Thread(target=lambda: results.append(composite([]))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(result) for result in results] == [2] * 50


def test_system_exit_in_an_aforward_reaches_the_caller_and_the_loop_lives_on():
    class Exits(nn.Module):
        async def aforward(self):
            sys.exit(3)

    with pytest.raises(SystemExit, match="3"):
        Exits()()
    assert len(AsyncLeaf()([])) == 1


def test_ctrl_c_in_a_blocking_call_cancels_the_work():
    script = """
        import asyncio, os, signal, threading, time
        import msgflow.nn as nn
        class Slow(nn.Module):
            async def aforward(self):
                threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
                try:
                    await asyncio.sleep(30)
                finally:
                    await asyncio.sleep(0.01)
                    print("cleaned up", flush=True)
        try:
            Slow()()
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert run_script(script).split("\n") == ["cleaned up", "interrupted"]


def test_a_process_ends_promptly_with_work_under_way_and_closes_it():
    script = """
        import asyncio, threading, time
        import msgflow.nn as nn
        class Slow(nn.Module):
            async def aforward(self):
                try:
                    await asyncio.sleep(30)
                finally:
                    print("closed", flush=True)
        def work():
            try:
                Slow()()
            except asyncio.CancelledError:
                pass
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
    """
    assert run_script(script) == "closed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_a_loop_of_its_own():
    script = """
        import os, warnings
        warnings.simplefilter("ignore")
        import asyncio
        import msgflow.nn as nn
        class Leaf(nn.Module):
            async def aforward(self):
                await asyncio.sleep(0)
                return os.getpid()
        parent = Leaf()()
        pid = os.fork()
        if pid == 0:
            os._exit(0 if Leaf()() == os.getpid() != parent else 1)
        print(os.waitpid(pid, 0)[1], Leaf()() == parent)
    """
    assert run_script(script) == "0 True"


def test_a_worker_thread_is_reused_and_an_idle_one_ends(monkeypatch):
    monkeypatch.setattr(_bridge.threads, "IDLE_THREAD_S", 0.05)

    async def two():
        first = await _bridge.in_thread(threading.current_thread)
        await asyncio.sleep(0.01)
        return first, await _bridge.in_thread(threading.current_thread)

    _bridge.threads._threads.idle.clear()
    first, second = asyncio.run(two())
    assert first is second
    first.join(5)
    assert not first.is_alive()


def test_once_runs_each_key_once_under_threads():
    calls = []

    @once
    def start(name):
        calls.append(name)
        time.sleep(0.02)
        return object()

    results = []
    threads = [threading.Thread(target=lambda: results.append(start("x"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["x"] and len(set(results)) == 1 and start("y") is not results[0]


async def test_a_blocking_forward_that_raises_stop_iteration_fails_instead_of_hanging():
    class Exhausted(nn.Module):
        blocking = True

        def forward(self):
            return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await Exhausted().acall()
    assert isinstance(caught.value.__cause__, StopIteration)
