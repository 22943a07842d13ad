"""Two doors and one code path: every cell of the table, nested, many at once, cancelled, interrupted, failing."""

import asyncio
import contextvars
import sys
import threading
import time
import traceback
import warnings

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow import _bridge
from msgflow._leaf import call_leaf
from tests.in_python import run_script

request_id = contextvars.ContextVar("request_id", default="none")


class SyncLeaf(nn.Module):
    def forward(self, x):
        return [*x, ("sync", threading.current_thread().name)]


class AsyncLeaf(nn.Module):
    async def aforward(self, x):
        await asyncio.sleep(0)
        return [*x, ("async", threading.current_thread().name)]


class BlockingLeaf(nn.Module):
    blocking = True

    def forward(self, x):
        time.sleep(0.001)
        return [*x, ("blocking", threading.current_thread().name)]


class BothLeaf(nn.Module):
    def forward(self, x):
        return [*x, ("both-sync", threading.current_thread().name)]

    async def aforward(self, x):
        await asyncio.sleep(0)
        return [*x, ("both-async", threading.current_thread().name)]


class SyncParent(nn.Module):
    def __init__(self, child):
        super().__init__()
        self.child = child

    def forward(self, x):
        return self.child(self.child(x))


class AsyncParent(SyncParent):
    async def aforward(self, x):
        return await self.child.acall(await self.child.acall(x))

    forward = nn.Module.forward


class MixedParent(SyncParent):
    """Calls the blocking door from async code."""

    async def aforward(self, x):
        await asyncio.sleep(0)
        return self.child(self.child(x))

    forward = nn.Module.forward


PARENTS = [SyncParent, AsyncParent, MixedParent]
LEAVES = [SyncLeaf, AsyncLeaf, BlockingLeaf, BothLeaf]


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("outer", PARENTS)
@pytest.mark.parametrize("inner", PARENTS)
async def test_every_combination_of_doors_works_at_depth_three(door, outer, inner, leaf):
    result = await door(outer(inner(leaf())), [])
    assert len(result) == 4 and len({kind for kind, _ in result}) == 1


async def test_plain_code_calls_a_def_forward_in_place():
    result = await asyncio.to_thread(SyncParent(SyncLeaf()), [])
    assert "msgflow" not in str(result)
    assert threading.current_thread().name == "MainThread"


def test_a_def_forward_in_plain_code_starts_no_thread_and_no_loop():
    script = """
        import threading
        import msgflow.nn as nn
        class Echo(nn.Module):
            def forward(self, x):
                return x
        nn.Sequential(Echo(), Echo())(1)
        print(threading.active_count())
    """
    assert run_script(script) == "1"


async def test_plain_code_runs_an_aforward_on_the_background_loop():
    ((_, thread),) = await asyncio.to_thread(AsyncLeaf(), [])
    assert thread == "msgflow"


async def test_under_acall_everything_runs_on_the_callers_loop_and_blocking_work_in_a_worker_thread():
    for leaf in (SyncLeaf, AsyncLeaf, BothLeaf):
        assert {thread for _, thread in await SyncParent(leaf()).acall([])} == {"MainThread"}
    assert {thread for _, thread in await SyncParent(BlockingLeaf()).acall([])} == {"msgflow worker"}


async def test_a_module_with_both_forms_is_async_under_acall_and_sync_in_plain_code():
    assert (await SyncParent(BothLeaf()).acall([]))[0][0] == "both-async"
    assert (await asyncio.to_thread(SyncParent(BothLeaf()), []))[0][0] == "both-sync"


async def test_a_composite_suspends_instead_of_blocking():
    """2,000 calls that each wait 2 x 50 ms take about 0.1 s together, on one thread."""

    class Wait(nn.Module):
        async def aforward(self, x):
            await asyncio.sleep(0.05)
            return x + 1

    composite, start = SyncParent(Wait()), time.perf_counter()
    results = await asyncio.gather(*(composite.acall(number) for number in range(2000)))
    assert results == [number + 2 for number in range(2000)]
    assert time.perf_counter() - start < 10  # one after the other it would take 200 s


def test_a_call_on_a_thread_whose_loop_is_running_works():
    async def notebook_cell():
        return MixedParent(AsyncLeaf())([])

    assert {thread for _, thread in asyncio.run(notebook_cell())} == {"msgflow"}


def test_blocking_calls_in_tasks_that_async_code_starts_on_the_background_loop_do_not_deadlock():
    class Fans(nn.Module):
        def __init__(self):
            super().__init__()
            self.leaf = AsyncLeaf()

        async def aforward(self, x):
            async def branch():
                return self.leaf(x)

            return await asyncio.gather(*(asyncio.create_task(branch()) for _ in range(5)))

    assert len(Fans()([])) == 5
    assert len(SyncParent(Fans()).child([])) == 5


def test_a_blocking_call_in_a_callback_of_the_background_loop_is_refused():
    class Calls(nn.Module):
        async def aforward(self):
            caught = asyncio.get_running_loop().create_future()

            def callback():
                try:
                    AsyncLeaf()([])
                except mf.errors.BridgeError as error:
                    caught.set_result(str(error))

            asyncio.get_running_loop().call_soon(callback)
            return await caught

    assert "wait for itself" in Calls()()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eagerly_started_tasks_get_flows_of_their_own():
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        composite = SyncParent(AsyncLeaf())

        class Fans(nn.Module):
            async def aforward(self):
                return await asyncio.gather(*(asyncio.create_task(composite.acall([])) for _ in range(5)))

        return await Fans().acall()

    assert [len(result) for result in asyncio.run(main())] == [2] * 5


async def test_context_variables_flow_in_everywhere(door):
    seen = []

    class Reads(nn.Module):
        async def aforward(self):
            seen.append(request_id.get())

    class ReadsInThread(nn.Module):
        blocking = True

        def forward(self):
            seen.append(request_id.get())

    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = [Reads(), ReadsInThread()]

        def forward(self):
            seen.append(request_id.get())
            for part in self.parts:
                part()

    request_id.set("r-17")
    await door(Both())
    assert seen == ["r-17"] * 3


async def test_a_variable_set_inside_a_forward_is_seen_by_its_caller_under_acall():
    class Sets(nn.Module):
        def forward(self):
            request_id.set("from inside")
            return AsyncLeaf()([])

    await Sets().acall()
    assert request_id.get() == "from inside"


async def test_an_error_keeps_its_type_and_its_traceback_shows_the_users_frames(door):
    class Fails(nn.Module):
        async def aforward(self):
            await asyncio.sleep(0)
            raise ZeroDivisionError("the innermost line")

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.fails = Fails()

        def forward(self):
            return self.fails()

    with pytest.raises(ZeroDivisionError, match="the innermost line") as caught:
        await door(Outer())
    frames = [frame.name for frame in traceback.extract_tb(caught.tb) if frame.filename == __file__]
    assert frames[-2:] == ["forward", "aforward"]
    assert caught.value.__context__ is None


async def test_a_forward_that_holds_the_loop_is_warned_about_by_name(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "HELD_LIMIT_S", 0.02)

    class Sleeper(nn.Module):
        def forward(self):
            time.sleep(0.05)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.sleeper, self.leaf = Sleeper(), AsyncLeaf()

        def forward(self):
            self.leaf([])
            self.sleeper()
            self.leaf([])

    with pytest.warns(RuntimeWarning, match="Sleeper.forward held the event loop for .*`blocking = True`") as caught:
        await Outer().acall()
    assert len(caught) == 1


async def test_waiting_does_not_count_as_holding_the_loop(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "HELD_LIMIT_S", 0.02)

    class Waits(nn.Module):
        async def aforward(self):
            await asyncio.sleep(0.05)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await nn.Sequential(Waits()).acall()


async def test_acall_outside_of_a_task_is_refused():
    coroutine = SyncLeaf().acall([])
    loop_error = []

    def drive():
        try:
            coroutine.send(None)
        except BaseException as error:
            loop_error.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert isinstance(loop_error[0], RuntimeError)


async def test_a_nonblocking_function_runs_in_place_and_others_in_a_worker_thread():
    def name():
        return threading.current_thread().name

    async def aname():
        return threading.current_thread().name

    assert await call_leaf(name) == "msgflow worker"
    assert await call_leaf(mf.nonblocking(lambda: threading.current_thread().name)) == "MainThread"
    assert await call_leaf(aname) == "MainThread"
    assert await call_leaf(lambda: aname()) == "MainThread"
    assert await call_leaf(SyncLeaf(), []) == [("sync", "MainThread")]


async def test_waiting_accepts_futures_as_well_as_coroutines(door):
    class WaitsForFuture(nn.Module):
        async def aforward(self):
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_result, 5)
            return _bridge.wait(future)

    assert await door(WaitsForFuture()) == 5


async def test_timeouts_of_asyncio_and_anyio_work_inside_a_forward():
    import anyio

    class Limited(nn.Module):
        async def aforward(self):
            with anyio.move_on_after(0.02) as scope:  # noqa: ASYNC100  # the blocking door inside is what awaits
                AsyncWait()()
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            return scope.cancelled_caught

    class AsyncWait(nn.Module):
        async def aforward(self):
            await anyio.sleep(30)

    assert await SyncParent(Limited()).child.acall() is True
