"""Corners of the bridge: no task, other greenlets, races, interruption, the end of the background loop."""

import asyncio
import os
import signal
import threading
import time
from queue import SimpleQueue

import pytest
from greenlet import greenlet

import msgflow as mf
import msgflow.nn as nn
from msgflow import _bridge


class Waits(nn.Module):
    async def aforward(self, seconds=0.0):
        await asyncio.sleep(seconds)
        return "waited"


async def test_acall_in_a_callback_of_the_loop_is_refused():
    outcome = asyncio.get_running_loop().create_future()

    def callback():
        try:
            Waits().acall().send(None)
        except mf.errors.BridgeError as error:
            outcome.set_result(str(error))

    asyncio.get_running_loop().call_soon(callback)
    assert "outside of a task" in await outcome


async def test_a_call_that_begins_in_one_greenlet_may_go_on_in_another():
    """As a task does that is started eagerly: its first step runs on the stack of whoever made it."""
    work = nn.Sequential(Waits()).acall()
    greenlet(work.send).switch(None)
    with pytest.raises(StopIteration, match="waited"):
        work.send(None)


def test_ctrl_c_cancels_the_work_and_waits_for_its_cleaning_up():
    log = []

    class Slow(nn.Module):
        async def aforward(self):
            threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            try:
                await asyncio.sleep(30)
            finally:
                await asyncio.sleep(0)
                log.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        Slow()()
    assert log == ["cleaned up"]


def test_a_background_loop_that_stops_cancels_its_tasks_and_closes():
    background, log = _bridge.background._Background(), []
    loop, begun = background.loop(), threading.Event()

    async def slow():
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            log.append("cleaned up")

    asyncio.run_coroutine_threadsafe(slow(), loop)
    assert begun.wait(5)
    background.stop()
    background.stop()
    assert log == ["cleaned up"] and loop.is_closed() and background.running is None


def test_a_background_loop_with_nothing_under_way_just_closes():
    background = _bridge.background._Background()
    loop = background.loop()
    assert background.loop() is loop
    background.stop()
    assert loop.is_closed()


def test_two_threads_that_need_the_first_loop_get_one():
    background, got = _bridge.background._Background(), []
    background.lock.acquire()
    second = threading.Thread(target=lambda: got.append(background.loop()))
    second.start()
    background.running = "the loop that the first thread made"
    background.lock.release()
    second.join(5)
    assert got == ["the loop that the first thread made"]


def test_a_loop_that_is_forgotten_is_not_stopped():
    background = _bridge.background._Background()
    loop, thread = background.loop(), background.thread
    background.forget()
    background.stop()
    assert not loop.is_closed()
    background.running, background.thread = loop, thread
    background.stop()


def test_work_that_is_given_up_before_a_thread_begins_it_is_not_run():
    threads, inbox, ran = _bridge.threads._Threads(), SimpleQueue(), []
    threads.idle.append(inbox)
    future = threads.submit(ran.append, 1)
    assert future.cancel()
    inbox.get()()
    assert ran == []


def test_an_idle_thread_that_is_taken_at_the_moment_it_would_end_still_works(monkeypatch):
    monkeypatch.setattr(_bridge.threads, "IDLE_THREAD_S", 0.01)
    threads, inbox, done = _bridge.threads._Threads(), SimpleQueue(), threading.Event()
    thread = threading.Thread(target=threads._serve, args=(inbox,))
    thread.start()  # not among the idle ones: somebody has taken it and is about to give it work
    assert not done.wait(0.05)
    inbox.put(done.set)
    assert done.wait(5)
    thread.join(5)
    assert not thread.is_alive() and not threads.idle


async def test_a_forward_that_holds_the_loop_before_it_waits_is_warned_about(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "HELD_LIMIT_S", 0.02)

    class Leaf(nn.Module):
        async def aforward(self):
            await asyncio.sleep(0)

    class SleepsThenWaits(nn.Module):
        def forward(self):
            time.sleep(0.05)
            _bridge.wait(asyncio.sleep(0))

    with pytest.warns(RuntimeWarning, match=r"SleepsThenWaits\.forward held the event loop") as caught:
        await SleepsThenWaits().acall()
    assert len(caught) == 1


async def test_code_of_no_module_may_hold_the_loop_unnamed(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "HELD_LIMIT_S", 0.02)

    class Empty(nn.Module):
        def forward(self):
            return 1

    def slow_first():
        time.sleep(0.05)
        return Empty()()

    assert await _bridge.in_flow(slow_first, (), {}) == 1


async def test_flows_beyond_the_kept_number_are_let_go(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "IDLE_FLOWS", 0)
    _bridge.flows._idle.flows.clear()

    class Empty(nn.Module):
        def forward(self):
            return 1

    assert await Empty().acall() == 1
    assert _bridge.flows._idle.flows == []


async def test_what_a_library_did_with_the_interpreters_lock_is_nobodys_fault(monkeypatch):
    monkeypatch.setattr(_bridge.flows, "HELD_LIMIT_S", 0.02)

    class Starved(nn.Module):
        def forward(self):
            time.sleep(0.05)
            _bridge.excuse()

    await Starved().acall()
