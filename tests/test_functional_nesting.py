"""Calls of nn.functional inside one another, in threads, in tools and in notebooks: none can wait for itself."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest

import msgflow as mf
import msgflow.nn as nn
import msgflow.nn.functional as F
from msgflow.messages import ToolCall
from msgflow.models import ScriptedModel
from tests.functional_doors import until

DEPTH = 20


class Plain(nn.Module):
    def forward(self, call, *args):
        return call(*args)


class Async(nn.Module):
    async def aforward(self, call, *args):
        result = call(*args)
        return await result if asyncio.iscoroutine(result) else result


def in_threads(depth):
    if not depth:
        return 1
    return sum(F.map_gather(in_threads, args_list=[(depth - 1,)] * (2 if depth > DEPTH - 3 else 1)))


@mf.nonblocking
def in_place(depth):
    return 1 + F.wait_for(in_place, depth - 1, timeout=30) if depth else 0


def alternating(depth):
    return 1 + F.wait_for(aalternating, depth - 1, timeout=30) if depth else 0


async def aalternating(depth):
    return 1 + await F.await_for(alternating, depth - 1, timeout=30) if depth else 0


async def blocking_in_async(depth):
    return 1 + F.wait_for(blocking_in_async, depth - 1) if depth else 0


class Nested(nn.Module):
    def forward(self, depth):
        return sum(F.map_gather(self, args_list=[(depth - 1,)] * 2)) if depth else 1


async def test_gathers_in_worker_threads_nest(door):
    assert await door(Plain(), in_threads, DEPTH) == 8


async def test_gathers_of_modules_nest(door):
    assert await door(Nested(), 7) == 128


@pytest.mark.parametrize("nested", [in_place, alternating, aalternating, blocking_in_async])
async def test_time_limits_nest(door, nested):
    assert await door(Async(), nested, DEPTH) == DEPTH


async def test_all_of_it_works_from_a_thread_whose_loop_is_running():
    """As in a notebook: plain calls, made while the thread's own loop waits for them."""
    assert in_threads(DEPTH) == 8 and in_place(DEPTH) == alternating(DEPTH) == DEPTH and Nested()(4) == 16


async def test_many_threads_may_gather_at_once():
    def gathers():
        return F.map_gather(Nested(), args_list=[(3,)] * 4)

    assert await asyncio.gather(*(asyncio.to_thread(gathers) for _ in range(20))) == [(8,) * 4] * 20


async def test_a_gather_works_inside_the_tools_of_an_agent(door):
    def search(word: str) -> int:
        """Search for a word."""
        return sum(F.map_gather(len, args_list=[(word,)] * 3, timeout=30))

    calls = tuple(ToolCall(str(number), "search", '{"word": "four"}') for number in range(3))
    model = ScriptedModel(calls, "done")
    agent = nn.Agent("searcher", model, tools=[search])
    assert await door(agent, "go") == "done"
    assert [message.text for message in model.requests[1].messages if message.role == "tool"] == ["12"] * 3


@pytest.mark.parametrize("limit", [None, 1])
async def test_a_timeout_outside_ends_everything_inside(door, limit):
    running = []

    class Inner(nn.Module):
        async def aforward(self):
            running.append(1)
            try:
                await asyncio.sleep(30)
            finally:
                running.pop()

    inner = Inner()

    def outer(depth):
        return F.map_gather(outer, args_list=[(depth - 1,)] * 2, limit=limit) if depth else inner()

    with pytest.raises(TimeoutError):
        await door(Plain(), lambda: F.wait_for(outer, 3, timeout=0.2))
    await until(lambda: not running)


async def test_cancelling_acall_ends_everything_inside(door):
    left, begun = [], asyncio.Event()

    class Inner(nn.Module):
        async def aforward(self):
            begun.set()
            try:
                await asyncio.sleep(30)
            finally:
                left.append(1)

    inner = Inner()
    task = asyncio.create_task(Plain().acall(lambda: F.map_gather(inner, args_list=[()] * 3)))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == [1, 1, 1]


def test_hundreds_of_calls_that_block_run_at_once():
    together = threading.Barrier(300, timeout=20)
    assert sorted(F.map_gather(together.wait, args_list=[()] * 300)) == list(range(300))


def test_twenty_thousand_calls_with_a_limit_end():
    assert sum(F.map_gather(mf.nonblocking(lambda x: x), args_list=[(1,)] * 20_000, limit=8)) == 20_000


def test_ctrl_c_in_a_gather_cancels_its_calls():
    script = """
        import asyncio, os, signal, threading
        import msgflow.nn.functional as F

        async def slow():
            try:
                await asyncio.sleep(30)
            finally:
                print("cleaned up", flush=True)

        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            F.map_gather(slow, args_list=[()] * 2)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split("\n")[:3] == ["cleaned up", "cleaned up", "interrupted"], done.stderr
