"""One resource per event loop, closed when its loop ends."""

import asyncio
import itertools
import threading

import pytest

import msgflow.nn as nn
from msgflow import _bridge
from msgflow._loop_local import LoopLocal
from tests.in_python import run_script


class Resource:
    """No `@asynccontextmanager`, because a loop that ends closes every async generator by itself."""

    def __init__(self, number, log, fails):
        self.number, self.log, self.fails = number, log, fails

    async def __aenter__(self):
        self.log.append(f"open {self.number}")
        await asyncio.sleep(0.005)
        if self.fails:
            raise OSError(f"no connection {self.number}")
        return self.number

    async def __aexit__(self, *_):
        await asyncio.sleep(0)
        self.log.append(f"close {self.number}")


def logged(log, fail=()):
    numbers = itertools.count()

    def open():
        number = next(numbers)
        return Resource(number, log, number in fail)

    return open


def test_a_loop_opens_its_resource_once_and_asyncio_run_closes_it():
    log = []
    pool = LoopLocal(logged(log))

    async def main():
        return await asyncio.gather(*(pool.get() for _ in range(20)))

    assert asyncio.run(main()) == [0] * 20
    assert log == ["open 0", "close 0"]
    assert asyncio.run(main()) == [1] * 20
    assert not pool._held and not pool._opening


async def test_the_background_loop_has_one_of_its_own():
    pool = LoopLocal(logged([]))

    class Asks(nn.Module):
        async def aforward(self):
            return await pool.get()

    here = await Asks().acall()
    assert await Asks().acall() == here != await asyncio.to_thread(Asks())


async def test_opening_that_failed_is_tried_again():
    pool = LoopLocal(logged([], fail={0}))
    with pytest.raises(OSError, match="no connection 0"):
        await pool.get()
    assert await pool.get() == 1


async def test_an_asker_that_is_cancelled_leaves_the_others_served():
    pool = LoopLocal(logged([]))
    first, second = asyncio.create_task(pool.get()), asyncio.create_task(pool.get())
    await asyncio.sleep(0.002)
    first.cancel()
    assert await second == 1


def test_what_a_loop_left_behind_that_was_closed_the_hard_way_is_forgotten():
    pool = LoopLocal(logged([], fail={1}))
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(pool.get()) == 0
    keeper = pool._held[loop][1]
    loop.close()
    failed = asyncio.new_event_loop()
    with pytest.raises(OSError, match="no connection"):
        failed.run_until_complete(pool.get())
    failed.close()

    async def ask():
        return await pool.get(), list(pool._held) == list(pool._opening) == [asyncio.get_running_loop()]

    assert asyncio.run(ask()) == (2, True)

    async def close():
        await keeper.aclose()

    asyncio.run(close())


async def test_asking_outside_of_a_loop_is_an_error():
    pool = LoopLocal(logged([]))

    def ask():
        with pytest.raises(RuntimeError, match="no running event loop"):
            pool.get().send(None)

    await asyncio.to_thread(ask)


def test_the_background_loops_resource_is_closed_at_interpreter_exit():
    script = """
        import msgflow.nn as nn
        from msgflow._loop_local import LoopLocal
        class Open:
            async def __aenter__(self):
                return "resource"
            async def __aexit__(self, *_):
                print("closed", flush=True)
        pool = LoopLocal(Open)
        class Asks(nn.Module):
            async def aforward(self):
                return await pool.get()
        print(Asks()())
    """
    assert run_script(script) == "resource\nclosed"


def test_a_dropped_pool_asks_its_loop_to_close_what_it_opened():
    closed = threading.Event()

    class Resource:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            closed.set()

    class Owner:
        def __init__(self):
            self.pool = LoopLocal(self.open)

        def open(self):
            return Resource()

    owner = Owner()
    assert isinstance(_bridge.wait(owner.pool.get()), Resource)
    del owner
    assert closed.wait(5)
