"""A stream is one object for `for` and `async for`; it runs only while it is read."""

import asyncio
import contextvars
import gc
import threading
import time

import anyio
import pytest

import msgflow as mf
import msgflow.nn as nn
from tests.in_python import run_script

request_id = contextvars.ContextVar("request_id", default="none")


def counting(log, upto=3):
    async def source(emit):
        try:
            for number in range(upto):
                log.append(f"makes {number}")
                await emit(number)
                await asyncio.sleep(0)
        finally:
            log.append("cleaned up")

    return source


async def eventually(condition):
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110  # what is waited for sets no event
            await asyncio.sleep(0.005)


def test_for_reads_all_items_in_plain_code():
    assert list(mf.Stream(counting([]))) == [0, 1, 2]


async def test_async_for_reads_all_items():
    assert [item async for item in mf.Stream(counting([]))] == [0, 1, 2]


async def test_for_works_inside_a_forward_through_every_door(door):
    class Reads(nn.Module):
        def forward(self):
            return list(mf.Stream(counting([])))

    assert await door(Reads()) == [0, 1, 2]


async def test_for_inside_a_forward_under_acall_lets_other_tasks_run():
    class Reads(nn.Module):
        def forward(self, source):
            return list(mf.Stream(source))

    waiting = asyncio.Event()

    async def source(emit):
        await waiting.wait()
        await emit("released")

    reading = asyncio.create_task(Reads().acall(source))
    await asyncio.sleep(0.01)
    waiting.set()
    assert await reading == ["released"]


async def test_nothing_runs_before_the_first_item_nor_ahead_of_the_reader():
    log = []
    reader = aiter(mf.Stream(counting(log)))
    await asyncio.sleep(0.01)
    assert log == []
    await anext(reader)
    await asyncio.sleep(0.01)
    assert log == ["makes 0"]
    await anext(reader)
    await asyncio.sleep(0.01)
    assert log == ["makes 0", "makes 1"]
    await reader.aclose()


def test_nothing_runs_ahead_of_a_reader_in_plain_code():
    log = []
    for item in mf.Stream(counting(log)):
        time.sleep(0.005)
        log.append(f"reads {item}")
    assert log == ["makes 0", "reads 0", "makes 1", "reads 1", "makes 2", "reads 2", "cleaned up"]


async def test_leaving_an_async_for_early_cancels_the_work_without_the_garbage_collector():
    log = []
    gc.disable()
    try:
        async for _ in mf.Stream(counting(log)):
            break
        await eventually(lambda: log == ["makes 0", "cleaned up"])
    finally:
        gc.enable()


async def test_leaving_a_for_early_cancels_the_work():
    log = []

    def leave():
        for _ in mf.Stream(counting(log)):
            break

    await asyncio.to_thread(leave)
    await eventually(lambda: log == ["makes 0", "cleaned up"])


async def test_leaving_while_the_source_waits_for_something_else_cancels_that():
    log = []

    async def source(emit):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(emit(1))
                group.create_task(asyncio.sleep(30))
        finally:
            log.append("left")

    async for _ in mf.Stream(source):
        break
    await eventually(lambda: log == ["left"])


async def test_the_end_of_an_async_with_block_waits_until_the_work_has_cleaned_up():
    log = []
    async with mf.Stream(counting(log)) as stream:
        reader = aiter(stream)
        assert await anext(reader) == 0
    assert log == ["makes 0", "cleaned up"]


def test_the_end_of_a_with_block_cleans_up_in_plain_code():
    log = []
    with mf.Stream(counting(log)) as stream:
        reader = iter(stream)
        assert next(reader) == 0
    assert log == ["makes 0", "cleaned up"]
    assert list(reader) == []


async def test_closing_twice_and_after_the_end_is_harmless():
    stream = mf.Stream(counting([]))
    assert [item async for item in stream] == [0, 1, 2]
    await stream.aclose()
    await stream.aclose()


async def test_a_stream_that_was_closed_unread_is_over():
    stream = mf.Stream(counting([]))
    await stream.aclose()
    with pytest.raises(mf.errors.BridgeError, match="read once"):
        aiter(stream)


async def test_a_reader_that_is_kept_ends_when_its_stream_is_closed_unread():
    stream = mf.Stream(counting([]))
    reader = aiter(stream)
    await stream.aclose()
    assert aiter(reader) is reader


async def test_an_error_in_the_cleaning_up_is_raised_by_aclose():
    async def source(emit):
        try:
            await emit(1)
        finally:
            raise ValueError("could not close")

    stream = mf.Stream(source)
    reader = aiter(stream)
    await anext(reader)
    with pytest.raises(ValueError, match="could not close"):
        await stream.aclose()


async def test_closing_before_the_works_first_step_ends_the_waiting_reader():
    stream = mf.Stream(counting([]))
    reader = aiter(stream)
    waiting = asyncio.ensure_future(anext(reader, "ended"))
    await asyncio.sleep(0)
    await stream.aclose()
    assert await asyncio.wait_for(waiting, 5) == "ended"


async def test_errors_reach_the_reader_after_the_items_before_them_and_keep_their_cause():
    origin = KeyError("origin")

    async def source(emit):
        await emit(1)
        raise ValueError("after one") from origin

    async def read():
        async for item in mf.Stream(source):
            items.append(item)

    items = []
    with pytest.raises(ValueError, match="after one") as caught:
        await read()
    assert items == [1] and caught.value.__cause__ is origin


def test_errors_reach_a_reader_in_plain_code():
    async def source(emit):
        await emit(1)
        raise ValueError("after one")

    reader = iter(mf.Stream(source))
    assert next(reader) == 1
    with pytest.raises(ValueError, match="after one"):
        next(reader)
    assert list(reader) == []


async def test_a_source_that_lets_stop_async_iteration_escape_does_not_look_complete():
    async def source(emit):
        raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="raised StopAsyncIteration") as caught:
        [item async for item in mf.Stream(source)]
    assert isinstance(caught.value.__cause__, StopAsyncIteration)


async def test_reading_twice_is_refused():
    stream = mf.Stream(counting([]))
    reader = aiter(stream)
    with pytest.raises(mf.errors.BridgeError, match="read once"):
        iter(stream)
    assert iter(reader) is reader


async def test_reading_on_from_another_loop_is_refused():
    log = []
    reader = aiter(mf.Stream(counting(log)))
    await anext(reader)
    with pytest.raises(mf.errors.BridgeError, match="another"):
        await asyncio.to_thread(next, reader)
    await asyncio.to_thread(lambda: asyncio.run(reader.aclose()))
    await eventually(lambda: log[-1] == "cleaned up")


async def test_two_tasks_may_share_one_reader():
    reader, items = aiter(mf.Stream(counting([], upto=10))), []

    async def read():
        async for item in reader:
            items.append(item)
            await asyncio.sleep(0)

    await asyncio.gather(read(), read())
    assert sorted(items) == list(range(10))


async def test_several_tasks_of_a_source_may_emit_at_once():
    async def source(emit):
        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(emit(number))

    assert sorted([item async for item in mf.Stream(source)]) == list(range(10))


async def test_an_item_that_a_timed_out_reader_asked_for_is_not_lost():
    async def source(emit):
        await asyncio.sleep(0.05)
        await emit(1)
        await emit(2)

    reader = aiter(mf.Stream(source))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(reader), 0.01)
    await asyncio.sleep(0.08)
    assert [item async for item in reader] == [1, 2]


async def test_emitting_after_the_end_is_refused():
    kept = []

    async def source(emit):
        kept.append(emit)

    assert [item async for item in mf.Stream(source)] == []
    with pytest.raises(mf.errors.BridgeError, match="has ended"):
        await kept[0](1)


async def test_a_stream_runs_with_the_context_of_the_place_where_it_was_made():
    async def source(emit):
        await emit(request_id.get())

    request_id.set("made here")
    stream = mf.Stream(source)
    request_id.set("read here")
    assert await asyncio.to_thread(list, stream) == ["made here"]


async def test_a_timeout_inside_a_source_may_span_items():
    async def source(emit):
        with anyio.move_on_after(5):
            await emit(threading.current_thread().name)
            await emit(2)

    assert [item async for item in mf.Stream(source)] == ["MainThread", 2]


def test_cancelling_the_loop_ends_the_work_of_a_reader_that_is_kept():
    log, kept = [], []

    async def main():
        kept.append(aiter(mf.Stream(counting(log))))
        await anext(kept[0])

    asyncio.run(main())
    assert log == ["makes 0", "cleaned up"]
    kept.clear()


def test_streams_that_are_never_read_or_dropped_at_exit_leave_no_warnings():
    script = """
        import asyncio
        import msgflow as mf
        async def source(emit):
            await emit(1)
            await asyncio.sleep(30)
        mf.Stream(source)
        iter(mf.Stream(source))
        never_read = mf.Stream(source)
        mf.Stream(source).close()
        kept = iter(mf.Stream(source))
        print(next(kept))
        async def main():
            global also_kept
            also_kept = aiter(mf.Stream(source))
            print(await anext(also_kept))
        asyncio.run(main())
    """
    assert run_script(script) == "1\n1"


async def test_closing_after_leaving_the_loop_early_waits_for_the_cleanup():
    events = []

    async def source(emit):
        try:
            await emit(1)
        finally:
            await asyncio.sleep(0.01)
            events.append("cleaned up")

    async with mf.Stream(source) as stream:
        async for _ in stream:
            break
    assert events == ["cleaned up"]
