"""wait_for and spawn: one call with a time limit, and one that runs on by itself."""

import asyncio
import gc
import logging
import threading
import time
from contextvars import ContextVar

import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.nn.functional as F
from tests.functional_doors import WAYS, until
from tests.in_python import run_script

request_id = ContextVar("request_id", default="none")


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def call(door, request):
    """Calls a function of F by name, in a plain and an async forward, through every door."""

    async def call(name, *args, **kwargs):
        return await door(request.param(), name, args, kwargs)

    return call


class Slow(nn.Module):
    def __init__(self, log=None):
        super().__init__()
        self.log = log

    async def aforward(self):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise


# --- wait_for --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 30])
async def test_wait_for_gives_the_result_of_one_call(call, timeout):
    assert await call("wait_for", divmod, 7, 2, timeout=timeout) == (3, 1)
    assert await call("wait_for", dict, timeout=timeout, x=1, f=2) == {"x": 1, "f": 2}


async def test_wait_for_raises_what_the_call_raises(call):
    with pytest.raises(ZeroDivisionError):
        await call("wait_for", divmod, 1, 0, timeout=30)


async def test_wait_for_cancels_what_is_not_done_in_time(call):
    log = []
    with pytest.raises(TimeoutError, match=r"Slow was not done within 0\.02 s"):
        await call("wait_for", Slow(log), timeout=0.02)
    assert log == ["cancelled"]


async def test_wait_for_goes_on_without_a_thread_that_blocks_and_cancels_the_calls_inside_it(call):
    log = []

    def blocks():
        return Slow(log)()

    with pytest.raises(TimeoutError, match="blocks was not done within"):
        await call("wait_for", blocks, timeout=0.05)
    await until(lambda: log == ["cancelled"])


async def test_the_timeout_of_an_inner_wait_for_comes_first(call):
    def outer():
        return F.wait_for(Slow([]), timeout=0.02)

    with pytest.raises(TimeoutError, match="Slow was not done"):
        await call("wait_for", outer, timeout=30)


async def test_a_timeout_leaves_the_flow_that_it_ended_in_usable(door):
    class Retries(nn.Module):
        def forward(self):
            for _ in range(3):
                try:
                    F.wait_for(Slow([]), timeout=0.01)
                except TimeoutError:
                    continue
            return F.wait_for(sum, [1, 2], timeout=30)

    assert await door(Retries()) == 3


# --- spawn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["module", "async function", "function", "nonblocking"])
async def test_a_spawned_call_runs_while_the_caller_goes_on(call, kind):
    results = []

    class Appends(nn.Module):
        def forward(self, x, *, plus):
            results.append(x + plus)

    def append(x, *, plus):
        results.append(x + plus)

    async def aappend(x, *, plus):
        await asyncio.sleep(0.001)
        results.append(x + plus)

    f = {"module": Appends(), "async function": aappend, "function": append, "nonblocking": mf.nonblocking(append)}
    spawned = await call("spawn", f[kind], 1, plus=2)
    await until(spawned.done)
    assert results == [3]


async def test_a_spawned_call_that_blocks_holds_up_nobody(call):
    release = threading.Event()
    spawned = await call("spawn", release.wait, 20)
    assert not spawned.done() and "running" in repr(spawned)
    release.set()
    await until(spawned.done)
    assert repr(spawned) == "<Spawned Event.wait, done>"


async def test_a_spawned_call_can_be_cancelled_any_number_of_times(call):
    log = []
    spawned = await call("spawn", Slow(log))
    await asyncio.sleep(0.01)
    spawned.cancel()
    spawned.cancel()
    await until(spawned.done)
    spawned.cancel()
    assert log == ["cancelled"]


async def test_a_spawned_call_that_is_cancelled_at_once_ends(call):
    spawned = await call("spawn", Slow([]))
    spawned.cancel()
    await until(spawned.done)


async def test_a_spawned_call_can_be_cancelled_from_another_thread(call):
    log = []
    spawned = await call("spawn", Slow(log))
    await asyncio.sleep(0.01)
    await asyncio.to_thread(spawned.cancel)
    await until(spawned.done)
    assert log == ["cancelled"]


async def test_what_a_spawned_call_raises_is_logged_with_its_traceback(call, caplog):
    def fails():
        raise ValueError("in the background")

    spawned = await call("spawn", fails)
    await until(spawned.done)
    (record,) = caplog.records
    assert record.name == "msgflow.functional" and record.levelno == logging.ERROR
    assert "fails" in record.getMessage() and "in the background" in caplog.text and "Traceback" in caplog.text


async def test_being_cancelled_is_not_logged_as_a_failure(call, caplog):
    spawned = await call("spawn", Slow([]))
    await asyncio.sleep(0.01)
    spawned.cancel()
    await until(spawned.done)
    assert caplog.records == []


async def test_context_variables_flow_into_a_spawned_call_and_not_back(call):
    seen = []

    async def read():
        seen.append(request_id.get())
        request_id.set("changed")

    token = request_id.set("r-1")
    spawned = await call("spawn", read)
    await until(spawned.done)
    assert seen == ["r-1"] and request_id.get() == "r-1"
    request_id.reset(token)


async def test_a_spawned_call_outlives_the_call_and_the_time_limit_that_it_was_made_in(call):
    done = []

    async def later():
        await asyncio.sleep(0.1)
        done.append(1)

    def spawns_and_is_late():
        F.spawn(later)
        time.sleep(0.02)
        F.wait_for(Slow([]))

    with pytest.raises(TimeoutError):
        await call("wait_for", spawns_and_is_late, timeout=0.06)
    await until(lambda: done == [1])


async def test_spawned_calls_that_nobody_holds_are_not_collected(call):
    done = []

    async def waits():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.02, future.set_result, None)
        await future
        done.append(1)

    for _ in range(20):
        await call("spawn", waits)
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0.001)
    await until(lambda: len(done) == 20)


def test_the_interpreter_exits_while_spawned_calls_run():
    script = """
        import asyncio, time
        import msgflow.nn.functional as F
        F.spawn(time.sleep, 60)
        F.spawn(asyncio.sleep, 60)
        print("the end")
    """
    start = time.monotonic()
    assert run_script(script) == "the end"
    assert time.monotonic() - start < 30


def test_the_end_of_a_loop_cancels_what_was_spawned_on_it():
    log, spawned = [], []

    async def main():
        spawned.append(F.spawn(Slow(log)))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert log == ["cancelled"] and spawned[0].done()
    spawned[0].cancel()


async def test_spawn_says_at_once_what_it_cannot_call():
    with pytest.raises(TypeError, match="f is 3 of type int; give a Module or a function, not yet called"):
        F.spawn(3)
    with pytest.raises(TypeError, match=r"f is the class Slow; give a module, such as Slow\(\)"):
        await F.aspawn(Slow)
