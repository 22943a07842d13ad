"""map_gather, scatter_gather and bcast_gather: many calls at once, from every place."""

import asyncio
import operator
import threading
import time
from contextvars import ContextVar
from functools import partial

import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.nn.functional as F
from tests.functional_doors import WAYS

request_id = ContextVar("request_id", default="none")


class Double(nn.Module):
    def forward(self, x, *, plus=0):
        return 2 * x + plus


class AsyncDouble(nn.Module):
    async def aforward(self, x, *, plus=0):
        await asyncio.sleep(0)
        return 2 * x + plus


def double(x, *, plus=0):
    return 2 * x + plus


async def async_double(x, *, plus=0):
    await asyncio.sleep(0)
    return 2 * x + plus


class CallableDouble:
    async def __call__(self, x, *, plus=0):
        return await async_double(x, plus=plus)


KINDS = {
    "module": Double(),
    "async module": AsyncDouble(),
    "function": double,
    "async function": async_double,
    "nonblocking": mf.nonblocking(lambda x, *, plus=0: 2 * x + plus),
    "partial": partial(async_double, plus=0),
    "builtin": partial(operator.mul, 2),
    "callable object": CallableDouble(),
}


async def slow(log=None):
    try:
        await asyncio.sleep(30)
    finally:
        if log is not None:
            log.append("cleaned up")


async def at_once():
    return "done"


async def fails_at_once():
    raise KeyError("boom")


async def boom(after=0.0):
    await asyncio.sleep(after)
    raise KeyError("boom")


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def call(door, request):
    """Calls a function of F by name, in a plain and an async forward, through every door."""

    async def call(name, *args, **kwargs):
        return await door(request.param(), name, args, kwargs)

    return call


@pytest.mark.parametrize("kind", KINDS)
async def test_map_gather_calls_one_function_with_many_arguments_and_keeps_their_order(call, kind):
    assert await call("map_gather", KINDS[kind], args_list=[(1,), (2,), (3,)]) == (2, 4, 6)


async def test_map_gather_takes_keyword_arguments_alone_or_beside_the_others(call):
    assert await call("map_gather", double, kwargs_list=[{"x": 1}, {"x": 2, "plus": 1}]) == (2, 5)
    assert await call("map_gather", Double(), args_list=[(1,), [2]], kwargs_list=({"plus": 1}, {})) == (3, 4)


async def test_scatter_gather_calls_each_function_with_its_own_arguments(call):
    functions = [Double(), async_double, double]
    assert await call("scatter_gather", functions, [(1,), (2,), (3,)]) == (2, 4, 6)
    assert await call("scatter_gather", functions, kwargs_list=[{"x": 1}, {"x": 2}, {"x": 3}]) == (2, 4, 6)
    assert await call("scatter_gather", [double], [(1,)], [{"plus": 1}]) == (3,)
    assert await call("scatter_gather", [list, dict]) == ([], {})


async def test_bcast_gather_calls_all_functions_with_the_same_arguments(call):
    assert await call("bcast_gather", [Double(), async_double, double], 3, plus=1) == (7, 7, 7)
    assert await call("bcast_gather", (list,)) == ([],)


async def test_a_function_with_a_timeout_of_its_own_gets_it_by_partial(call):
    def own(x, timeout):
        return x, timeout

    assert await call("bcast_gather", [partial(own, timeout=3)], 1, timeout=30) == ((1, 3),)
    assert await call("wait_for", partial(own, timeout=3), 1, timeout=30) == (1, 3)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("map_gather", (double,), {"args_list": []}),
        ("map_gather", (double,), {"kwargs_list": ()}),
        ("scatter_gather", ([],), {}),
        ("bcast_gather", ([], 1), {}),
    ],
)
async def test_no_calls_give_no_results(call, name, args, kwargs):
    assert await call(name, *args, **kwargs) == ()


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [boom, partial(boom, 0.01)])
async def test_one_failure_cancels_the_others_and_is_raised_as_it_is(call, failing):
    start = time.monotonic()
    with pytest.raises(KeyError, match="boom") as caught:
        await call("scatter_gather", [slow, failing, slow])
    assert type(caught.value) is KeyError and time.monotonic() - start < 10


async def test_others_clean_up_before_the_failure_is_raised(call):
    log = []
    with pytest.raises(KeyError):
        await call("scatter_gather", [slow, boom], [(log,), (0.02,)])
    assert log == ["cleaned up"]


@pytest.mark.parametrize("count", [1, 3])
async def test_failures_may_be_returned_in_the_place_of_the_results(call, count):
    wrong = ValueError("wrong")

    def fails_on_2(x):
        if x == 2:
            raise wrong
        return x

    results = await call("map_gather", fails_on_2, args_list=[(2,), (1,), (2,)][:count], return_exceptions=True)
    assert results == (F.TaskError(wrong, 0), 1, F.TaskError(wrong, 2))[:count]
    assert results[0].exception is wrong and not results[0]


async def test_every_gather_returns_failures_when_asked(call):
    assert (await call("scatter_gather", [boom, double], [(), (1,)], return_exceptions=True))[1:] == (2,)
    _, failed = await call("bcast_gather", [list, boom], return_exceptions=True)
    assert isinstance(failed.exception, (KeyError, TypeError)) and failed.index == 1


def test_a_task_error_cannot_be_changed():
    with pytest.raises(AttributeError):
        F.TaskError(ValueError(), 0).index = 1


async def test_being_cancelled_is_never_a_value():
    log = []
    task = asyncio.create_task(
        F.amap_gather(slow, args_list=[(log,)] * 3, return_exceptions=True, timeout=30),
    )
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned up"] * 3


async def test_a_call_that_cancels_itself_cancels_the_whole(call):
    async def cancels():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await call("bcast_gather", [cancels, list], return_exceptions=True)


# --- time limits -----------------------------------------------------------------------------------------------------


async def test_a_timeout_cancels_what_is_still_running(call):
    log = []
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"2 of 3 calls were not done within 0\.05 s"):
        await call("scatter_gather", [slow, at_once, slow], [(log,), (), (log,)], timeout=0.05)
    assert log == ["cleaned up"] * 2 and time.monotonic() - start < 5


async def test_a_timeout_beside_returned_failures_keeps_what_was_done(call):
    calls = [at_once, fails_at_once, slow]
    done, failed, late = await call("scatter_gather", calls, timeout=0.05, return_exceptions=True)
    assert done == "done" and isinstance(failed.exception, KeyError)
    assert isinstance(late.exception, TimeoutError) and str(late.exception) == "call 2 was not done within 0.05 s"


async def test_calls_that_waited_for_their_turn_until_the_timeout_are_never_begun(call):
    begun = []

    async def waits(number):
        begun.append(number)
        await asyncio.sleep(30)

    rows = [(0,), (1,), (2,)]
    results = await call("map_gather", waits, args_list=rows, limit=1, timeout=0.02, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert begun == [0] and [type(each.exception) for each in results] == [TimeoutError] * 3


async def test_a_timeout_of_a_call_itself_is_told_from_that_of_the_whole(call):
    async def times_out():
        raise TimeoutError("the call's own")

    with pytest.raises(TimeoutError, match="the call's own"):
        await call("bcast_gather", [times_out, slow], timeout=30)


async def test_a_timeout_does_not_wait_for_a_thread_that_blocks(call):
    release = threading.Event()
    with pytest.raises(TimeoutError):
        await call("map_gather", release.wait, args_list=[(20,)], timeout=0.05)
    release.set()


@pytest.mark.parametrize("timeout", [float("inf"), 10**400, 60, 0.5])
async def test_any_number_of_seconds_above_zero_is_a_timeout(call, timeout):
    assert await call("map_gather", async_double, args_list=[(1,)], timeout=timeout) == (2,)


# --- overlap ---------------------------------------------------------------------------------------------------------


async def test_functions_that_block_overlap(call):
    together = threading.Barrier(8, timeout=10)
    await call("map_gather", together.wait, args_list=[()] * 8)


@pytest.mark.parametrize("limit", [1, 3])
async def test_at_most_limit_calls_run_at_a_time(call, limit):
    running, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1

    assert await call("map_gather", work, args_list=[()] * 7, limit=limit) == (None,) * 7
    assert most == limit


# --- context ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "async function", "module", "async module"])
@pytest.mark.parametrize("count", [1, 3])
async def test_context_variables_flow_in_and_not_from_call_to_call(call, kind, count):
    def read(number):
        seen = request_id.get()
        request_id.set(f"changed by {number}")
        return seen

    async def aread(number):
        return read(number)

    class Reads(nn.Module):
        def forward(self, number):
            return read(number)

    class ReadsAsync(nn.Module):
        async def aforward(self, number):
            return read(number)

    f = {"function": read, "async function": aread, "module": Reads(), "async module": ReadsAsync()}[kind]
    token = request_id.set("r-1")
    try:
        rows = [(number,) for number in range(count)]
        assert await call("map_gather", f, args_list=rows) == ("r-1",) * count
        assert await call("map_gather", f, args_list=rows, limit=1) == ("r-1",) * count
        assert request_id.get() == "r-1"
    finally:
        request_id.reset(token)
