"""Several pieces of work at once, and one plain exception when one fails."""

import asyncio
from contextvars import ContextVar

import pytest

from msgflow._bridge import gather


def returning(value, after=0.0):
    async def call():
        await asyncio.sleep(after)
        return value

    return call


def failing(error, after=0.0, cause=None):
    async def call():
        await asyncio.sleep(after)
        raise error from cause

    return call


async def test_results_come_in_the_order_of_the_calls():
    assert await gather([returning(1, 0.02), returning(2), returning(3, 0.01)]) == [1, 2, 3]


async def test_no_calls_give_no_results():
    assert await gather([]) == []


@pytest.mark.parametrize("count", [1, 3])
async def test_each_call_has_a_context_of_its_own(count):
    variable = ContextVar("variable", default="caller's")

    async def call():
        seen = variable.get()
        variable.set("call's")
        return seen

    assert await gather([call] * count, lone_in_place=False) == ["caller's"] * count
    assert variable.get() == "caller's"


async def test_a_lone_call_is_awaited_in_the_callers_own_task():
    async def call():
        return asyncio.current_task()

    assert await gather([call]) == [asyncio.current_task()]


async def test_a_failure_is_raised_as_itself_with_its_own_cause():
    cause = OSError("the disk")
    with pytest.raises(KeyError, match="wrong") as caught:
        await gather([failing(KeyError("wrong"), cause=cause), returning(1, 30)])
    assert caught.value.__cause__ is cause


async def test_a_failure_cancels_the_others_and_waits_for_their_cleaning_up():
    log = []

    async def slow():
        try:
            await asyncio.sleep(30)
        finally:
            log.append("cleaned up")

    with pytest.raises(ValueError, match="boom"):
        await gather([slow, failing(ValueError("boom"))])
    assert log == ["cleaned up"]


async def test_failures_that_follow_are_noted_on_the_first():
    async def fails_when_cancelled():
        try:
            await asyncio.sleep(30)
        finally:
            raise RuntimeError("second")

    with pytest.raises(ValueError, match="first") as caught:
        await gather([fails_when_cancelled, failing(ValueError("first"))])
    assert "another branch failed, too: RuntimeError('second')" in caught.value.__notes__[0]


async def test_nested_calls_raise_the_innermost_failure():
    async def inner():
        return await gather([failing(ValueError("deep")), returning(1, 30)])

    with pytest.raises(ValueError, match="deep"):
        await gather([inner, returning(1, 30)])


async def test_a_group_that_a_call_raises_is_its_own_exception_and_stays_whole():
    group = ExceptionGroup("several", [ValueError("first"), KeyError("second")])
    with pytest.raises(ExceptionGroup) as caught:
        await gather([failing(group), returning(1, 30)])
    assert caught.value is group


async def test_the_failure_that_came_first_is_raised_whatever_the_order_of_the_calls():
    with pytest.raises(ValueError, match="sooner"):
        await gather([failing(KeyError("later"), 30), failing(ValueError("sooner"), 0.01), returning(1)])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_program_is_raised_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        asyncio.run(gather([failing(error), returning(1, 30)]))
    assert caught.value is error


async def test_a_failure_while_cleaning_up_wins_over_being_cancelled():
    async def fails_when_cancelled():
        try:
            await asyncio.sleep(30)
        finally:
            raise RuntimeError("cleaning up")

    task = asyncio.create_task(gather([fails_when_cancelled, returning(1, 30)]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(RuntimeError, match="cleaning up"):
        await task


@pytest.mark.parametrize("limit", [1, 3, 50, None])
async def test_at_most_limit_calls_run_at_a_time(limit):
    running, most = 0, 0

    async def call():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return most

    assert len(await gather([call] * 20, limit=limit)) == 20
    assert most == min(limit or 20, 20)


async def test_calls_that_wait_for_a_free_place_are_not_begun_after_a_failure():
    begun = []

    async def call():
        begun.append(1)
        await asyncio.sleep(0.001)
        raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await gather([call] * 10, limit=2)
    assert len(begun) == 2


async def test_ten_thousand_calls_become_no_more_tasks_than_the_limit():
    most = number = 0

    async def call():
        nonlocal most, number
        number += 1
        if number % 500 == 0:  # to count them takes a while
            most = max(most, len(asyncio.all_tasks()))
        await asyncio.sleep(0)

    await gather([call] * 10_000, limit=5)
    assert number == 10_000 and 0 < most <= 5 + 2


async def test_cancelling_from_outside_cancels_every_branch():
    left = []

    async def slow():
        try:
            await asyncio.sleep(30)
        finally:
            left.append(1)

    task = asyncio.create_task(gather([slow, slow, slow]))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [1, 1, 1]


async def test_a_branch_that_cancels_itself_cancels_the_whole():
    async def cancels():
        raise asyncio.CancelledError

    async def works():
        return 1

    with pytest.raises(asyncio.CancelledError):
        await gather([works, cancels])


@pytest.mark.timeout(5)
async def test_a_call_that_cancels_itself_leaves_none_waiting_for_its_place():
    begun = []

    async def cancels():
        begun.append(1)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await gather([cancels] * 4, limit=1)
    assert len(begun) == 1
