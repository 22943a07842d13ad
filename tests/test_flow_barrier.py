"""Branches wait for each other at a barrier."""

import time

import anyio
import anyio.lowlevel
import pytest

from msgflow import flow
from msgflow.errors import BarrierTimeout


class Log(list):
    def step(self, name):
        async def append(x):
            await anyio.lowlevel.checkpoint()
            self.append(name)
            return x

        return append

    def branch(self, name, *, barriers=1, timeout=None):
        steps = []
        for number in range(barriers):
            steps += [self.step(f"{name}{number}"), flow.barrier(timeout)]
        return flow.Pipeline(*steps, self.step(f"{name}{barriers}"))


@pytest.mark.parametrize("count", [1, 2, 6, 50])
@pytest.mark.parametrize("limit", [None, 1, 3])
async def test_no_branch_goes_on_before_all_are_there(door, count, limit):
    log = Log()
    made = flow.Parallel(*[log.branch(f"{n}.", barriers=2) for n in range(count)], limit=limit)
    assert await door(made, "x") == ("x",) * count
    rounds = [entry.split(".")[1] for entry in log]
    assert rounds == sorted(rounds) and len(rounds) == 3 * count


async def test_a_branch_that_ends_without_a_barrier_is_not_waited_for(door):
    log = Log()
    made = flow.Parallel(log.branch("a", barriers=2), log.branch("b"), log.step("c"))
    assert await door(made, "x") == ("x", "x", "x")


async def test_a_branch_that_takes_another_way_is_not_waited_for(door):
    made = flow.Map(flow.IfElse(lambda x: x > 1, flow.barrier(), str))
    assert await door(made, [1, 2, 3]) == ["1", 2, 3]


async def test_items_of_a_map_meet_whatever_its_limit(door):
    seen = []

    async def arrive(x):
        seen.append(x)
        return x

    made = flow.Map(flow.Pipeline(arrive, flow.barrier(), lambda x: len(seen)), limit=2)
    assert await door(made, range(7)) == [7] * 7


async def test_after_the_barrier_the_limit_holds_again(door):
    running, most = [], []

    async def count(x):
        running.append(x)
        most.append(len(running))
        await anyio.sleep(0.001)
        running.remove(x)
        return x

    await door(flow.Map(flow.Pipeline(count, flow.barrier(), count), limit=2), range(8))
    assert max(most) == 2


async def test_inner_branches_meet_among_themselves(door):
    log = Log()
    inner = flow.Parallel(log.branch("a"), log.branch("b"))
    assert await door(flow.Parallel(inner, log.step("c")), "x") == (("x", "x"), "x")
    alone = flow.Parallel(flow.Pipeline(flow.barrier()))
    assert await door(flow.Parallel(alone, log.step("c"), log.step("d")), "x") == (("x",), "x", "x")


async def test_outside_of_branches_there_is_nobody_to_wait_for(door):
    assert await door(flow.Pipeline(str, flow.barrier(), len), 12) == 2
    assert await door(flow.barrier(), 1, 2) == (1, 2)


async def test_a_barrier_that_not_all_reach_in_time_is_an_error(door):
    async def late(x):
        await anyio.sleep(30)

    made = flow.Parallel(a=flow.Pipeline(flow.barrier(timeout=0.05)), b=flow.barrier(timeout=20), c=late)
    with pytest.raises(BarrierTimeout, match=r"2 of 3 branches reached the barrier within 0.05 s") as caught:
        await door(made, 1)
    assert (caught.value.arrived, caught.value.expected) == (2, 3) and isinstance(caught.value, TimeoutError)
    assert "in step a.0 of Parallel" in caught.value.__notes__


async def test_a_branch_that_gives_up_waiting_is_not_counted(door):
    log = Log()
    gives_up = flow.Pipeline(flow.fallback(flow.timeout(flow.barrier(), 0.02), lambda x: "gave up"), log.step("left"))
    slow = flow.Pipeline(lambda x: time.sleep(0.1), flow.barrier(), log.step("met"))
    made = flow.Parallel(gives_up, slow, slow, limit=3)
    assert await door(made, 1) == ("gave up", None, None) and log == ["left", "met", "met"]


async def test_a_failing_branch_frees_those_that_wait(door):
    def fails(x):
        raise KeyError(x)

    with pytest.raises(KeyError):
        await door(flow.Parallel(flow.barrier(), flow.barrier(), fails), 1)
    results = await door(flow.Parallel(flow.barrier(), flow.barrier(), fails, on_error="collect"), 1)
    assert results[:2] == (1, 1)


async def test_barriers_in_loops_meet_round_by_round(door):
    log = Log()
    body = [flow.Pipeline(log.step("in"), flow.barrier(), log.step("out"), flow.barrier()) for _ in range(3)]
    await door(flow.Parallel(*[flow.Loop(step, max_steps=3) for step in body]), 1)
    assert log == (["in"] * 3 + ["out"] * 3) * 3


@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan")])
def test_a_timeout_that_is_none_is_refused(timeout):
    with pytest.raises((ValueError, TypeError), match="timeout is"):
        flow.barrier(timeout)


def test_its_timeout_is_shown():
    assert repr(flow.barrier(3)) == "Barrier(timeout=3)" and repr(flow.barrier()) == "Barrier()"
