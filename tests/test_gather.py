"""Several pieces of work at once, and one plain exception when one fails."""

import asyncio

import pytest

from msgflow._gather import gather


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


async def test_one_call_is_awaited_in_the_callers_own_task():
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


async def test_a_group_that_a_branch_raises_is_opened():
    group = ExceptionGroup("several", [ValueError("first"), KeyError("second")])
    with pytest.raises(ValueError, match="first"):
        await gather([failing(group), returning(1, 30)])


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
