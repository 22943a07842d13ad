"""Cancelling a flow, at any moment and in any way, ends all that runs under it, and nothing is lost."""

import asyncio
from contextlib import asynccontextmanager

import anyio
import pytest

import msgflow as mf
from msgflow import flow


class Watch:
    """Makes steps, and counts how many of their calls run and how many were cut short and have cleaned up."""

    def __init__(self):
        self.running = self.cut_short = self.cleaned = 0

    def step(self, waits=1, fails=False):
        async def step(*args):
            self.running += 1
            try:
                for _ in range(waits):
                    await asyncio.sleep(0)
                if fails:
                    raise KeyError("of the step")
            except asyncio.CancelledError:
                self.cut_short += 1
                await asyncio.sleep(0)
                self.cleaned += 1
                raise
            finally:
                self.running -= 1
            return args[0] if args else None

        return step


def first(results):
    return results[0]


@mf.nonblocking  # a worker thread takes as many steps as it likes
def pair(x):
    return [x, x]


def barriers(step):
    return flow.Pipeline(step(), flow.barrier(), step(), flow.barrier(30))


FLOWS = {
    "parallel": lambda step: flow.Parallel(step(0), step(), step(3)),
    "limited": lambda step: flow.Parallel(*[step() for _ in range(5)], limit=2),
    "nested": lambda step: flow.Parallel(flow.Pipeline(step(), flow.Parallel(step(), step(2))), step()),
    "collecting": lambda step: flow.Parallel(step(fails=True), step(3), on_error="collect"),
    "diverter": lambda step: flow.Pipeline(pair, flow.Diverter(step(), step(2))),
    "map": lambda step: flow.Pipeline(pair, flow.Map(step(3), limit=1)),
    "barrier": lambda step: flow.Parallel(*[barriers(step) for _ in range(3)]),
    "limited barrier": lambda step: flow.Parallel(*[barriers(step) for _ in range(4)], limit=2),
    "graph": lambda step: (
        flow.Graph().add("a", step()).add("b", step(), after="a").add("c", step(2), after="a").add("d", step())
    ),
    "loop": lambda step: flow.Loop(flow.Parallel(step(), step(), reduce=first), max_steps=3),
    "choices": lambda step: flow.Switch({1: flow.IfElse(step(), step(2))}, key=step()),
    "retry": lambda step: flow.retry(flow.Parallel(step(), step(2)), backoff=0),
    "fallback": lambda step: flow.fallback(step(fails=True), flow.Parallel(step(), step(2))),
    "timeout": lambda step: flow.timeout(flow.Parallel(step(), step(2)), 30),
}


# --- ways of cancelling: each is true where it came in time ----------------------------------------------------------


@asynccontextmanager
async def after(steps, act):
    """In the block: act, when the loop has gone round so often."""

    async def wait():
        for _ in range(steps):
            await asyncio.sleep(0)
        act()

    task = asyncio.create_task(wait())
    try:
        yield
    finally:
        task.cancel()


async def task_cancel(call, steps):
    task = asyncio.create_task(call)
    async with after(steps, task.cancel):
        await asyncio.wait([task])
    return task.cancelled()


async def task_cancel_each_time(call, steps):
    task = asyncio.create_task(call)
    for _ in range(steps):
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([task])
    return task.cancelled()


async def asyncio_timeout(call, steps):
    try:
        async with asyncio.timeout(None) as limit, after(steps, lambda: limit.reschedule(0)):
            await call
    except TimeoutError:
        return True
    return False


async def anyio_scope(call, steps):
    with anyio.CancelScope() as scope:
        async with after(steps, scope.cancel):
            await call
    return scope.cancelled_caught


async def task_group(call, steps):
    async def fails():
        for _ in range(steps):
            await asyncio.sleep(0)
        raise OSError("of a sibling")

    failed = []
    try:
        async with asyncio.TaskGroup() as group:
            sibling = group.create_task(fails())
            await call
            sibling.cancel()
    except* OSError as errors:
        failed.append(errors)
    return bool(failed)


AGAIN_AND_AGAIN = [task_cancel_each_time, anyio_scope]  # which cancel a clean-up as well
WAYS = [task_cancel, task_cancel_each_time, asyncio_timeout, anyio_scope, task_group]


@pytest.mark.parametrize("cancel", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", FLOWS)
async def test_a_call_that_is_cancelled_at_any_moment_leaves_nothing_behind(kind, cancel):
    watch = Watch()
    made = FLOWS[kind](watch.step)
    whole = await made.acall(1)
    tasks, cleaned_up, steps = asyncio.all_tasks(), [], 0

    async def clean_up(module, args, kwargs, output):
        cleaned_up.append(module)
        await asyncio.sleep(0)

    made.register_forward_hook(clean_up, always_call=True)
    while await cancel(made.acall(1), steps):
        assert watch.running == 0 and (watch.cleaned == watch.cut_short or cancel in AGAIN_AND_AGAIN), steps
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks, steps
        assert steps < 2 or made in cleaned_up, steps
        assert repr(await made.acall(1)) == repr(whole), steps  # no slot was lost, nobody waits for the dead
        cleaned_up.clear()
        steps += 1
    assert steps > 3 and watch.cut_short


@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_a_stream_that_is_cancelled_at_any_moment_leaves_nothing_behind(limit):
    watch = Watch()
    made, tasks = flow.Map(watch.step(), limit=limit), asyncio.all_tasks()

    async def items():
        for number in range(4):
            await asyncio.sleep(0)
            yield number

    async def read():
        return [pair async for pair in made.stream(items())]

    steps = 0
    while await task_cancel(read(), steps):
        for _ in range(9):  # dropped, a stream ends by itself
            await asyncio.sleep(0)
        assert watch.running == 0 and asyncio.all_tasks() == tasks, steps
        steps += 1
    assert steps > 9 and len(await read()) == 4


# --- branches that do not do as they are told ------------------------------------------------------------------------


async def fails(x):
    await asyncio.sleep(0.01)
    raise ValueError("first")


async def test_a_branch_that_swallows_its_cancelling_is_waited_for(door):
    ended = []

    async def swallows(x):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        ended.append(x)
        return x

    with pytest.raises(ValueError, match="first"):
        await door(flow.Parallel(swallows, fails, swallows), 1)
    assert ended == [1, 1]


async def test_a_swallowed_cancelling_still_cancels_the_call():
    async def swallows(x):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            return x

    assert await task_cancel(flow.Parallel(swallows, swallows).acall(1), 3)


@pytest.mark.parametrize("kind", ["parallel", "map", "graph"])
async def test_a_branch_that_cancels_itself_cancels_the_call_and_not_another_one(kind):
    other = asyncio.create_task(asyncio.sleep(0.02, "untouched"))

    async def cancels(*args):
        asyncio.current_task().cancel()
        await asyncio.sleep(30)

    watch = Watch()
    made = {
        "parallel": flow.Parallel(watch.step(99), cancels),
        "map": flow.Pipeline(lambda x: [1, 2], flow.Map(cancels)),
        "graph": flow.Graph().add("a", watch.step(99)).add("b", cancels),
    }[kind]
    with pytest.raises(asyncio.CancelledError):
        await made.acall(1)
    assert watch.running == 0 and await other == "untouched"


class Stubborn:
    """A step that makes of each cancelling an error of its own, as many a client of a server does."""

    def __init__(self):
        self.calls = 0

    async def __call__(self, x):
        self.calls += 1
        try:
            await asyncio.sleep(30)
        finally:
            raise ConnectionError("closed")


@pytest.mark.parametrize("wrap", [lambda s: flow.retry(s, backoff=0), lambda s: flow.fallback(s, s)])
@pytest.mark.parametrize("inner", [lambda s: s, lambda s: flow.Parallel(s, s), lambda s: flow.Pipeline(s)])
async def test_a_clean_up_that_fails_is_no_reason_to_try_again(door, wrap, inner):
    step = Stubborn()
    with pytest.raises(ValueError, match="first"):
        await door(flow.Parallel(wrap(inner(step)), fails), 1)
    assert step.calls in (1, 2)  # once in each branch of the inner one


@pytest.mark.parametrize("wrap", [lambda s: flow.retry(s, backoff=0), lambda s: flow.fallback(s, s)])
async def test_a_failure_during_which_the_call_is_cancelled_is_not_tried_again(wrap):
    async def cleans_up_for_long(x):
        try:
            await asyncio.sleep(30)
        finally:
            calls.append(1)
            await asyncio.sleep(0.05)

    calls, made = [], wrap(flow.Parallel(cleans_up_for_long, fails))
    task = asyncio.create_task(made.acall(1))
    await asyncio.sleep(0.03)
    task.cancel()  # while the first failure is still being cleaned up after
    with pytest.raises(ValueError, match="first") as caught:
        await task
    assert calls == [1] and isinstance(caught.value.__context__, asyncio.CancelledError)


async def test_an_error_about_the_cancelling_of_something_else_is_tried_again(door):
    calls = []

    async def step(x):
        calls.append(1)
        worker = asyncio.create_task(asyncio.sleep(30))
        await asyncio.sleep(0)
        worker.cancel()
        try:
            await worker
        except asyncio.CancelledError:
            raise RuntimeError("the worker has died")  # noqa: B904 -- without `from`, as people write it

    with pytest.raises(RuntimeError, match="died"):
        await door(flow.retry(step, times=3, backoff=0), 1)
    assert len(calls) == 3


async def test_a_task_group_that_fails_in_a_step_is_tried_again(door):
    calls = []

    async def step(x):
        calls.append(1)
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(x))
            group.create_task(asyncio.sleep(30))

    with pytest.raises(ExceptionGroup):
        await door(flow.retry(step, times=3, backoff=0), 1)
    assert len(calls) == 3


# --- barriers --------------------------------------------------------------------------------------------------------


async def test_the_failure_of_a_branch_lets_nobody_through_a_barrier(door):
    passed = []
    waits = flow.Pipeline(flow.barrier(), passed.append)
    with pytest.raises(ValueError, match="first"):
        await door(flow.Parallel(waits, waits, fails), 1)
    assert passed == []


@pytest.mark.timeout(10)
async def test_a_clean_up_waits_at_no_barrier_for_branches_that_never_come():
    cleaning, cleaned = asyncio.Event(), []

    async def clean_up(module, args, kwargs, output):
        cleaning.set()
        await flow.barrier().acall(1)
        cleaned.append(1)

    async def fails_meanwhile(x):
        await cleaning.wait()
        raise KeyError("second")

    async def slow(x):
        await asyncio.sleep(30)

    async def never(x):
        pytest.fail("it began after the failure")

    failing = flow.Pipeline(fails)
    failing.register_forward_hook(clean_up, always_call=True)
    with pytest.raises(KeyError):
        await flow.Parallel(failing, fails_meanwhile, slow, never, limit=2).acall(1)
    assert cleaned == [1]
