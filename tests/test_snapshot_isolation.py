"""Snapshot isolation: a root call reads one version of all values, to its end, whatever is published meanwhile."""

import asyncio
import contextvars
import copy
import gc
import pickle
import threading

import msgflow as mf
import msgflow.nn as nn
from tests.swapping import NEW, Pair, snapshots


async def test_a_call_reads_to_its_end_what_was_there_when_it_began(door):
    pair = Pair()
    assert await door(pair, lambda: pair.load_state_dict(NEW)) == ("a1", "a1", "b1", 1)
    assert await door(pair) == ("a2", "a2", "b2", 2)


async def test_a_call_does_not_see_its_own_assignments_and_the_next_one_does(door):
    pair = Pair()

    def assign():
        pair.a, pair.b.data, pair.n = "a2", "b2", 2

    assert await door(pair, assign) == ("a1", "a1", "b1", 1)
    assert await door(pair) == ("a2", "a2", "b2", 2)


async def test_every_way_of_reading_shows_the_pinned_version(door):
    pair = Pair()
    old = {"a": "a1", "b": "b1", "n": 1}
    digest = pair.digest()

    class Reader(nn.Module):
        def forward(self):
            pair.load_state_dict(NEW)
            return [
                pair.state_dict(),
                {name: parameter.data for name, parameter in pair.named_parameters()} | dict(pair.named_buffers()),
                {"a": pair.get_parameter("a").data, "b": pair.get_parameter("b").data, "n": pair.get_buffer("n")},
                copy.deepcopy(pair).state_dict(),
                pickle.loads(pickle.dumps(pair)).state_dict(),
            ], pair.digest()

    assert await door(Reader()) == ([old] * 5, digest)
    assert pair.state_dict() == NEW and pair.digest() != digest


async def test_a_value_that_is_made_during_a_call_can_be_read_in_it(door):
    pair = Pair()

    def add():
        pair.register_buffer("extra", "new")
        pair.c = nn.Parameter("c")
        assert (pair.extra, pair.c) == ("new", "c")
        pair.c = "changed"
        assert pair.c == "c"

    await door(pair, add)
    assert pair.c == "changed"


async def test_a_thread_that_goes_on_after_its_call_was_cancelled_keeps_its_version():
    pair, seen = Pair(), []
    began, go, done = asyncio.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(nn.Module):
        blocking = True

        def forward(self):
            seen.append(str(pair.a))
            loop.call_soon_threadsafe(began.set)
            go.wait(10)
            seen.append(str(pair.a))
            loop.call_soon_threadsafe(done.set)

    task = asyncio.ensure_future(Slow().acall())
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    pair.a = "a2"
    go.set()
    await done.wait()
    assert seen == ["a1", "a1"]


async def test_a_stream_that_a_call_returned_keeps_the_version_of_that_call(door):
    pair = Pair()

    class Streams(nn.Module):
        def forward(self):
            return mf.Stream(self.looks)

        async def looks(self, emit):
            for _ in range(3):
                await emit(str(pair.a))

    stream = await door(Streams())
    pair.a = "a2"
    assert [item async for item in stream] == ["a1"] * 3
    assert [item async for item in await door(Streams())] == ["a2"] * 3


async def test_a_context_that_outlives_its_call_reads_the_latest_values(door):
    pair, kept = Pair(), []
    await door(pair, lambda: kept.append(contextvars.copy_context()))
    pair.a = "a2"
    assert kept[0].run(lambda: pair.a) == "a2"
    assert kept[0].run(pair) == ("a2", "a2", "b1", 1)


def big_texts():
    gc.collect()
    return sum(type(found) is nn.parameter.Text and found.startswith("big") for found in gc.get_objects())


def test_an_old_value_is_freed_with_the_last_call_that_needs_it():
    pair, seen = Pair(), []

    def swap():
        pair.a = "small"
        seen.append(big_texts())

    pair.a = "big" * 1000
    assert pair(swap)[:2] == ("big" * 1000, "big" * 1000)
    assert seen == [1] and big_texts() == 0


def test_versions_that_no_call_reads_are_not_kept_for_an_older_call():
    pair, seen = Pair(), []

    def swap_often():
        for number in range(1000):
            pair.a = str(number)
        seen.append(len(snapshots()))

    before = len(snapshots())
    assert pair(swap_often) == ("a1", "a1", "b1", 1)
    assert seen[0] <= before + 2


def test_calls_of_many_versions_at_once_each_read_their_own():
    pair = Pair()

    async def main():
        go, seen = asyncio.Event(), []

        class Waits(nn.Module):
            async def aforward(self, number):
                before = (str(pair.a), str(pair.b))
                await go.wait()
                seen.append((number, before, (str(pair.a), str(pair.b))))

        waits, tasks = Waits(), []
        for number in range(300):
            if number % 3 == 0:
                pair.a = f"a{number}"
            elif number % 3 == 1:
                pair.b = f"b{number}"
            tasks.append(asyncio.ensure_future(waits.acall(number)))
            await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*tasks)
        return seen

    for number, before, after in asyncio.run(main()):
        a, b = number - number % 3, number - (number + 2) % 3
        assert before == after == (f"a{a}", f"b{b}" if b > 0 else "b1")
