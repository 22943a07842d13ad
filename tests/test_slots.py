"""Slots and barriers: never too many branches at a time, none lost, and none that goes on before all are there."""

import asyncio
import time
from functools import partial

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import msgflow.nn.functional as F
from msgflow import flow
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


# --- barriers --------------------------------------------------------------------------------------------------------


class Log(list):
    """Steps that write down their names."""

    def step(self, name, after=0.0):
        async def step(x):
            await asyncio.sleep(after)
            self.append(name)
            return x

        return step


async def twice_by_functional(x):
    return await F.abcast_gather([flow.barrier(), flow.barrier()], x)


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize(
    "twice",
    [
        twice_by_functional,
        flow.Graph().add("a", flow.barrier()).add("b", flow.barrier()),
        flow.timeout(flow.barrier(), 30),
        flow.retry(flow.barrier()),
    ],
    ids=["functional", "graph", "timeout", "retry"],
)
async def test_a_branch_is_one_of_those_that_meet_however_many_calls_in_it_wait(door, twice, limit):
    log = Log()
    there = flow.Pipeline(twice, log.step("on"))
    late = flow.Pipeline(log.step("late", 0.02), flow.barrier(), log.step("on"))
    await door(flow.Parallel(there, late, there, limit=limit), 1)
    assert log == ["late", "on", "on", "on"]


@pytest.mark.timeout(10)
async def test_what_a_branch_has_left_running_meets_nobody_once_it_has_ended(door):
    through = asyncio.Event()

    async def goes_through(x):
        through.set()

    async def leaves(x):
        F.spawn(flow.Pipeline(lambda x: time.sleep(0.02), flow.barrier(), goes_through), x)

    async def late(x):
        await through.wait()

    await door(flow.Parallel(leaves, flow.Pipeline(late, flow.barrier()), flow.Pipeline(late, flow.barrier())), 1)


@pytest.mark.timeout(10)
async def test_a_clean_up_that_comes_to_a_barrier_after_the_failure_waits_for_nobody(door):
    log = Log()

    async def fails(x):
        await asyncio.sleep(0.01)
        raise KeyError("first")

    async def clean_up(module, args, kwargs, output):
        await flow.barrier(30).acall(1)
        log.append("cleaned up")

    cut_short = flow.Pipeline(lambda x: asyncio.sleep(30))
    cut_short.register_forward_hook(clean_up, always_call=True)
    with pytest.raises(KeyError, match="first"):
        await door(flow.Parallel(cut_short, fails, cut_short), 1)
    assert log == ["cleaned up"] * 2


async def test_a_time_limit_at_a_barrier_leaves_the_others_to_meet(door):
    log = Log()
    impatient = flow.fallback(flow.barrier(timeout=0.01), log.step("gave up"))
    slow = flow.Pipeline(log.step("slow", 0.05), flow.barrier(), log.step("on"))
    await door(flow.Parallel(impatient, slow, slow, limit=3), 1)
    await door(flow.Parallel(impatient, slow, slow, limit=1), 1)
    assert log == ["gave up", "slow", "slow", "on", "on"] * 2


@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_branches_meet_generation_by_generation(door, limit):
    """However differently fast they are, and whatever they do between two meetings."""
    log = Log()
    branches = []
    for number in range(4):
        rounds = [step for turn in range(5) for step in (log.step(turn, (number * turn % 3) / 500), flow.barrier())]
        branches.append(flow.Pipeline(*rounds[: 2 * (number + 2)]))
    await door(flow.Parallel(*branches, limit=limit), 1)
    assert log == sorted(log) and len(log) == 2 + 3 + 4 + 5
