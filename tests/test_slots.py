"""The slots of a gather: never too many calls at a time, and none lost, whatever the calls do."""

import asyncio
from functools import partial

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from msgflow._bridge import Slots, gather


class Counted:
    """Calls that work, leave their slot for a while, and are cut short while they are away; counts who has a slot."""

    def __init__(self, limit):
        self.slots, self.limit = Slots(limit), limit
        self.begun = self.ended = self.holding = self.most = 0

    async def call(self, program):
        self.begun += 1
        self.enter()
        has_slot = True
        try:
            for act, rounds in program:
                if act == "work":
                    await rounds_of_the_loop(rounds)
                    continue
                self.holding -= has_slot
                has_slot = False
                has_slot = await self.away(rounds, cut_short=act == "cut short")
                if has_slot:
                    self.enter()
        finally:
            self.ended += 1
            self.holding -= has_slot
        return program

    def enter(self):
        self.holding += 1
        self.most = max(self.most, self.holding)

    async def away(self, rounds, cut_short):
        """Whether it has come back with a slot."""
        with anyio.CancelScope() as scope:
            async with self.slots.away():
                if cut_short:
                    asyncio.get_running_loop().call_soon(scope.cancel)
                await rounds_of_the_loop(rounds)
        return not scope.cancelled_caught


async def rounds_of_the_loop(rounds):
    for _ in range(rounds):
        await asyncio.sleep(0)


ACTS = st.tuples(st.sampled_from(["work", "away", "cut short"]), st.integers(0, 3))
PROGRAMS = st.lists(st.lists(ACTS, max_size=5), max_size=8)


@settings(max_examples=200, deadline=None)
@given(programs=PROGRAMS, limit=st.integers(1, 4), cancelled_after=st.none() | st.integers(0, 20))
@example(programs=[[("away", 3)], [("work", 3)], [("away", 0)]], limit=1, cancelled_after=None)
@example(programs=[[("cut short", 3), ("work", 3)]] * 3, limit=1, cancelled_after=None)
@example(programs=[[("away", 1)]] * 5, limit=2, cancelled_after=4)
def test_programs_of_all_kinds_keep_the_limit_and_give_every_slot_back(programs, limit, cancelled_after):
    async def run():
        counted = Counted(limit)
        calls = [partial(counted.call, program) for program in programs]
        task = asyncio.create_task(gather(calls, slots=counted.slots, lone_in_place=False))
        if cancelled_after is None:
            assert await asyncio.wait_for(task, 5) == programs and counted.begun == len(programs)
        else:
            await rounds_of_the_loop(cancelled_after)
            task.cancel()
            await asyncio.wait_for(asyncio.wait([task]), 5)
        assert counted.begun == counted.ended and counted.most <= limit and counted.holding == 0
        assert counted.slots._free == limit
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


async def test_who_comes_back_goes_before_a_call_that_has_not_begun():
    log, slots = [], Slots(1)

    async def leaves(name):
        async with slots.away():
            log.append(f"{name} left")
        log.append(f"{name} is back")

    await gather([partial(leaves, name) for name in "abc"], slots=slots)
    assert log == ["a left", "b left", "a is back", "b is back", "c left", "c is back"]


async def test_one_that_is_cut_short_while_away_frees_at_its_end_what_it_has_not_got():
    """So that as many as the limit run again afterwards, neither more nor fewer."""
    running, most, slots = [], [], Slots(2)

    async def cut_short():
        with anyio.CancelScope() as scope:
            async with slots.away():
                scope.cancel()
                await asyncio.sleep(30)
        await asyncio.sleep(0.005)

    async def works():
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.002)
        running.pop()

    await gather([cut_short] * 3 + [works] * 12, slots=slots)
    assert max(most[-8:]) == 2


@pytest.mark.parametrize("limit", [None, 1, 2])
async def test_a_thousand_calls_may_be_away_at_once(limit):
    slots, gate, away = Slots(limit), asyncio.Event(), []

    async def leaves():
        async with slots.away():
            away.append(1)
            if len(away) == 1000:
                gate.set()
            await gate.wait()

    await gather([leaves] * 1000, slots=slots)
    assert len(away) == 1000


async def test_work_of_another_loop_runs_on_the_loop_of_the_calls():
    slots, here = Slots(), asyncio.get_running_loop()

    async def where():
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    assert await slots.on_loop(where()) is here
    assert await asyncio.to_thread(lambda: asyncio.run(slots.on_loop(where()))) is here


async def test_cancelling_it_from_another_loop_cancels_it_there():
    slots, cancelled = Slots(), asyncio.Event()

    async def slow():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def give_up():
        with anyio.move_on_after(0.01):
            await slots.on_loop(slow())

    await asyncio.to_thread(asyncio.run, give_up())
    await asyncio.wait_for(cancelled.wait(), 5)
