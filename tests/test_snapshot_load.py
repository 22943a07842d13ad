"""Snapshot isolation under load, and what may interrupt a publish."""

import asyncio
import copy
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import msgflow.nn as nn
from msgflow import _version_clock
from tests.swapping import KINDS, NEW, Pair, Swapping, snapshots, tree


class Load:
    """Calls from 8 threads and 200 tasks at once; `mixes` are the calls that saw more than one version."""

    def __init__(self, module, calls):
        self.module, self.mixes, self.ran = module, [], []
        self.a_thread, self.a_task = calls // 16, calls // 400

    def note(self, kind, seen):
        self.ran.append(kind)
        if len(seen) != 1:
            self.mixes.append((kind, seen))

    def blocking(self):
        for number in range(self.a_thread):
            kind = KINDS[number % len(KINDS)]
            self.note(kind, self.module(kind))

    async def task(self, start):
        for number in range(start, start + self.a_task):
            kind = KINDS[number % len(KINDS)]
            self.note(kind, await self.module.acall(kind))

    async def run(self):
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(8) as threads:
            await asyncio.gather(
                *(loop.run_in_executor(threads, self.blocking) for _ in range(8)),
                *(self.task(start) for start in range(200)),
            )


@pytest.mark.parametrize("calls", [1_600, pytest.param(112_000, marks=[pytest.mark.stress, pytest.mark.timeout(900)])])
def test_no_call_sees_a_mix_while_states_are_swapped_as_fast_as_possible(calls):
    module = tree()
    before = len(snapshots()), texts_of(module)
    with Swapping(module) as swapping:
        load = Load(module, calls)
        asyncio.run(load.run())
    assert load.mixes == []
    assert len(load.ran) == calls and swapping.swaps > calls / 100
    assert (len(snapshots()), texts_of(module)) <= before, "old versions are freed as soon as no call needs them"


def texts_of(module):
    """How many texts there are that were ever read from this module."""
    own = set(module.parameters())
    return sum(type(found) is nn.parameter.Text and found.parameter in own for found in gc.get_objects())


class Interrupting(nn.Parameter):
    """Ctrl-C comes just when its new value is stored."""

    @property
    def stored(self):
        return _version_clock.Cell.stored.__get__(self)

    @stored.setter
    def stored(self, stored):
        if stored[0] == "b2":
            raise KeyboardInterrupt
        _version_clock.Cell.stored.__set__(self, stored)


def test_a_publish_that_is_interrupted_leaves_no_trace():
    pair = Pair()
    pair.b = Interrupting("b1")
    with pytest.raises(KeyboardInterrupt):
        pair.load_state_dict(NEW)
    assert pair() == ("a1", "a1", "b1", 1)
    pair.n = 5
    assert pair() == ("a1", "a1", "b1", 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_that_was_forked_in_the_middle_of_publishing_can_call_and_publish():
    module = tree()
    with Swapping(module):
        for _ in range(20):
            child = os.fork()
            if child == 0:
                seen = module("plain")
                module.p0 = "child"
                os._exit(0 if len(seen) == 1 and module.p0 == "child" else 1)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0


def test_deep_copies_and_state_dicts_are_of_one_version_while_states_are_swapped():
    module = tree()
    with Swapping(module):
        for _ in range(50):
            for state in (module.state_dict(), copy.deepcopy(module).state_dict()):
                assert len({value for key, value in state.items() if key.rpartition(".")[2].startswith("p")}) == 1


def test_a_digest_is_of_one_version_while_states_are_swapped():
    pair, wrong = Pair(), []
    states = [{"a": f"a{number}", "b": f"b{number}", "n": number} for number in (1, 2)]
    digests = []
    for state in states:
        pair.load_state_dict(state)
        digests.append(pair.digest())
    done = threading.Event()

    def swap():
        while not done.is_set():
            for state in states:
                pair.load_state_dict(state)

    class Digested(nn.Module):
        def forward(self):
            wrong.extend(1 for _ in range(3) if pair.digest() != digests[pair.n - 1] or pair.a != f"a{pair.n}")

    thread = threading.Thread(target=swap)
    thread.start()
    for _ in range(500):
        Digested()()
    done.set()
    thread.join()
    assert wrong == []


def test_a_large_state_gives_way_to_threads_that_wait():
    module, turns, done = nn.Module(), [], threading.Event()
    for number in range(20_000):
        module.register_parameter(f"p{number}", nn.Parameter("x"))

    def call():
        while not done.is_set():
            turns.append(1)
            done.wait(0.0001)

    thread = threading.Thread(target=call)
    thread.start()
    state = module.state_dict()
    before = len(turns)
    module.load_state_dict(state)
    meanwhile = len(turns) - before
    done.set()
    thread.join()
    # Some 300 times it may; by itself Python would let it every 5 ms, about 10 times.
    assert meanwhile > 30


def test_a_call_does_not_wait_for_a_publish_that_is_going_on():
    pair = Pair()
    with _version_clock._clock.lock:
        assert pair() == ("a1", "a1", "b1", 1)
