"""Flows that nest deep, and flows of many steps."""

import asyncio
import contextlib
import gc
import sys
import tracemalloc
import weakref

import pytest

import msgflow as mf
from msgflow import flow


def one(*_):
    return 1


@mf.nonblocking
def one_in_place(*_):
    return 1


async def one_later(*_):
    await asyncio.sleep(0)
    return 1


@mf.nonblocking
def listed(x):
    return [x]


def first(results):
    return results[0]


only = mf.nonblocking(first)

WRAPS = {
    "pipeline": lambda step: flow.Pipeline(step),
    "named": lambda step: flow.Pipeline(a=step),
    "bound": lambda step: flow.Pipeline(one_in_place).add("b", step, flow.input),
    "parallel": lambda step: flow.Parallel(step, reduce=first),
    "limited": lambda step: flow.Parallel(step, one_in_place, limit=1, reduce=first),
    "diverter": lambda step: flow.Diverter(step, reduce=first),
    "map": lambda step: flow.Pipeline(listed, flow.Map(step), only),
    "graph": lambda step: flow.Graph().add("a", one_in_place).add("b", step, after="a"),
    "if": lambda step: flow.IfElse(bool, step),
    "else": lambda step: flow.IfElse(callable, one_in_place, step),
    "switch": lambda step: flow.Switch({1: step}),
    "default": lambda step: flow.Switch({}, default=step, key=one_in_place),
    "loop": lambda step: flow.Loop(step, max_steps=1),
    "retry": lambda step: flow.retry(step, times=1),
    "timeout": lambda step: flow.timeout(step, 60),
    "fallback": lambda step: flow.fallback(step),
}


def nested(wrap, depth, leaf):
    step = leaf
    for _ in range(depth):
        step = wrap(step)
    return step


@pytest.mark.parametrize("traced", [False, True], ids=["", "traced"])
@pytest.mark.parametrize("kind", WRAPS)
async def test_every_flow_nests_200_deep(door, kind, traced, request):
    if traced:
        request.getfixturevalue("tracing")
    assert await door(nested(WRAPS[kind], 200, one_later), 1) == 1


async def test_flows_of_all_kinds_nest_in_each_other(door):
    step = one
    for _ in range(10):
        for wrap in WRAPS.values():
            step = wrap(step)
    assert await door(step, 1) == 1


async def test_an_error_from_far_below_says_where_it_came_from(door):
    with pytest.raises(ZeroDivisionError) as caught:
        await door(nested(WRAPS["parallel"], 100, lambda x: 1 / 0), 1)
    assert caught.value.__notes__ == [f"in step {'.'.join('0' * 100)} of Parallel"]


def calls_itself(kind):
    if kind == "pipeline":
        made = flow.Pipeline(one_in_place)
        return made.add("itself", made)
    if kind == "parallel":
        made = flow.Parallel(one_in_place)
        return made.add("itself", made)
    if kind == "graph":
        made = flow.Graph().add("a", one_in_place)
        return made.add("itself", made, after="a")
    made = flow.Map(one_in_place)
    made.step = flow.Pipeline(listed, made)
    return flow.Pipeline(listed, made)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # made by Python where its stack is full
@pytest.mark.parametrize("kind", ["pipeline", "parallel", "graph", "map"])
async def test_a_flow_that_calls_itself_without_end_is_an_error_and_no_end_of_memory(door, kind):
    with pytest.raises(RecursionError):
        await door(calls_itself(kind), 1)


async def test_a_flow_may_call_itself_as_long_as_it_ends(door):
    """The sum of a tree: a flow for a node that maps itself over the node's children."""
    total = flow.Pipeline()
    total.add("node", flow.IfElse(lambda tree: isinstance(tree, int), mf.nonblocking(int), flow.Map(total)))
    total.add("sum", mf.nonblocking(lambda found: found if isinstance(found, int) else sum(found)))
    tree = 1
    for _ in range(50):
        tree = [tree, [1, 1]]
    assert await door(total, tree) == 101


# --- many ------------------------------------------------------------------------------------------------------------


async def test_thousands_of_branches():
    assert await flow.Parallel(*[one_in_place] * 3_000, reduce=sum).acall(1) == 3_000


async def test_two_thousand_branches_in_worker_threads():
    assert await flow.Parallel(*[one] * 2000, reduce=sum).acall(1) == 2000


@pytest.mark.parametrize("limit", [None, 7])
async def test_a_thousand_branches_meet(door, limit):
    met = flow.Pipeline(one_in_place, flow.barrier(), one_later)
    assert await door(flow.Parallel(*[met] * 1000, limit=limit, reduce=sum), 1) == 1000


async def test_a_thousand_nodes_in_a_row_and_side_by_side():
    row, wide = flow.Graph(), flow.Graph()
    for number in range(1000):
        row.add(str(number), one_in_place, after=[str(number - 1)] if number else ())
        wide.add(str(number), one_in_place)
    wide.add("end", mf.nonblocking(lambda *results: sum(results)), after=[str(number) for number in range(1000)])
    assert await row.acall(1) == 1 and await wide.acall(1) == 1000


def test_a_node_that_is_added_does_not_sort_all_that_are_there():
    row, calls = flow.Graph(), []
    for number in range(500):
        row.add(str(number), one_in_place, after=[str(number - 1)] if number else ())
    # What is called is counted, because a tracer or a busy machine would decide how long it takes.
    sys.setprofile(lambda frame, event, argument: calls.append(event) if event == "call" else None)
    try:
        row.add("500", one_in_place, after=["499"])
    finally:
        sys.setprofile(None)
    assert calls.count("call") < 2 * 500  # sorting takes 8 a node


async def test_a_thousand_async_steps(door):
    assert await door(flow.Pipeline(*[one_later] * 1000), 1) == 1


async def test_a_long_loop_keeps_nothing_of_its_rounds(door):
    made = flow.Loop(mf.nonblocking(lambda text: bytes(100_000)), until=lambda text: not text, max_steps=3000)
    made.on_limit = "return"
    await door(made, b"x")
    tracemalloc.start()
    try:
        assert len(await door(made, b"x")) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.stress
@pytest.mark.timeout(300)
def test_a_million_rounds():
    assert flow.Loop(mf.nonblocking(lambda x: x + 1), max_steps=10**6)(0) == 10**6
    assert flow.Loop(lambda x: x + 1, until=lambda x: x == 10**6, max_steps=10**7)(0) == 10**6


async def test_of_a_thousand_failures_the_first_is_raised_and_few_are_noted(door):
    async def fails(x):
        await asyncio.sleep(0)
        raise KeyError(x)

    with pytest.raises(KeyError) as caught:
        await door(flow.Parallel(*[fails] * 1000), 1)
    place, *others, rest = caught.value.__notes__
    assert place == "in step 0 of Parallel" and rest == "and 996 more"
    assert others == ["while it was handled, another branch failed, too: KeyError(1)"] * 3


# --- what is left of a call ------------------------------------------------------------------------------------------


class Big:
    """Something that a call is given or returns, and that nobody may keep."""

    def __init__(self):
        alive.add(self)


alive = weakref.WeakSet()


async def all_are_freed():
    for attempt in range(1, 500):
        if not alive:
            return
        await asyncio.sleep(0.01)  # worker threads end a little later
        if attempt % 10 == 0:
            gc.collect()
    assert not list(alive)


FREED = {kind: lambda step, kind=kind: (WRAPS[kind](step), Big()) for kind in WRAPS if kind != "switch"} | {
    "map": lambda step: (flow.Map(step, limit=2), [Big(), Big(), Big()]),
    "references": lambda step: (flow.Pipeline(a=one).add("b", step, flow.input, [flow.ref("a")]), Big()),
    "barrier": lambda step: (
        flow.Parallel(flow.Pipeline(flow.barrier(), step), flow.Pipeline(step, flow.barrier()), limit=1),
        Big(),
    ),
}


@pytest.mark.parametrize("outcome", ["result", "error", "time limit"])
@pytest.mark.parametrize("kind", FREED)
async def test_flows_inputs_and_results_are_freed(door, kind, outcome):
    alive.clear()

    def ends(*args):
        if outcome == "error":
            raise KeyError("of the step")
        return Big()

    async def ends_later(*args):
        await asyncio.sleep(30 if outcome == "time limit" else 0)
        return ends()

    async def call(step):
        made, given = FREED[kind](step)
        alive.add(made)
        made = flow.timeout(made, 0.01) if outcome == "time limit" else made
        with contextlib.suppress(KeyError, TimeoutError):
            await door(made, given)

    await call(ends_later)
    if outcome != "time limit":
        await call(ends)
    await all_are_freed()


async def test_a_call_made_deep_in_a_stack_leaves_the_stack_of_later_ones_alone():
    deep = nested(WRAPS["pipeline"], 190, one_later)

    def at_depth(depth):
        return at_depth(depth - 1) if depth else asyncio.run(flow.Pipeline(one_later).acall(1))

    def later():
        return at_depth(600), asyncio.run(deep.acall(1))

    assert await asyncio.to_thread(later) == (1, 1)


# --- tasks that begin on the stack of the task that made them ---------------------------------------------------------

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio starts no tasks eagerly before Python 3.12")


@eager
@pytest.mark.parametrize("kind", WRAPS)
async def test_every_flow_nests_200_deep_where_tasks_start_eagerly(kind):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    task = asyncio.get_running_loop().create_task(nested(WRAPS[kind], 200, one_later).acall(1))
    assert await task == 1


@eager
@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("step", [one_in_place, one_later])
async def test_a_thousand_branches_meet_where_tasks_start_eagerly(limit, step):
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    met = flow.Pipeline(step, flow.barrier(), step)
    assert await flow.Parallel(*[met] * 1000, limit=limit, reduce=sum).acall(1) == 1000
