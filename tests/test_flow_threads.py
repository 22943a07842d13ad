"""Flows that threads call and change at once, that processes fork, and that Ctrl-C ends."""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import msgflow as mf
from msgflow import flow, nn
from tests.in_python import run_script


def add_one(*values):
    return values[-1] + 1


class AddOne(nn.Module):
    def forward(self, *values):
        return add_one(*values)


async def add_one_later(x):
    await asyncio.sleep(0)
    return x + 1


# --- a call keeps the shape that it began with -----------------------------------------------------------------------


async def test_a_graph_that_changes_while_it_is_called_runs_to_its_end_as_it_was(door):
    made = flow.Graph()

    def change(x):
        del made.b
        made.add("b", lambda *args: ("new", *args), flow.input)
        made.end = lambda *args: ("new", *args)
        return x

    made.add("a", change).add("b", lambda *args: args, flow.ref("a"), 2, after="a")
    made.add("end", lambda *args: args, after=["b", "a"])
    assert await door(made, 1) == ((1, 2), 1)
    del made.a
    with pytest.raises(mf.errors.FlowStructureError, match="comes after 'a', which is none of: end, b"):
        await door(made, 1)
    del made.end
    assert await door(made, 1) == ("new", 1)


async def test_a_parallel_that_changes_while_it_is_called_runs_to_its_end_as_it_was(door):
    made = flow.Parallel(limit=1, as_dict=True)

    def change(x):
        made.b = lambda *args: "new"
        made.add("c", lambda x: "more")
        return x

    made.add("a", change).add("b", lambda *args: args, flow.input, 2)
    assert await door(made, 1) == {"a": 1, "b": (1, 2)}
    del made.a
    assert await door(made, 1) == {"b": "new", "c": "more"}


async def test_a_map_calls_one_step_for_all_items_of_a_call(door):
    def change(x):
        made.step = lambda x: "new"
        return x

    made = flow.Map(change, limit=1)
    assert await door(made, [1, 2, 3]) == [1, 2, 3]
    assert await door(made, [1, 2]) == ["new", "new"]


# --- threads ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_threads(*works, for_s=0.1):
    """Call each again and again, in a thread of its own, with threads taking turns much more often than they do."""
    stop, failures, interval = threading.Event(), [], sys.getswitchinterval()

    def again_and_again(work):
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            failures.append(error)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(len(works)) as pool:
            for work in works:
                pool.submit(again_and_again, work)
            yield
            stop.wait(for_s)
            stop.set()
    finally:
        sys.setswitchinterval(interval)
    if failures:
        raise failures[0]


CHANGED = {
    "pipeline": (flow.Pipeline(a=AddOne(), b=AddOne()), {3, 4}),
    "parallel": (flow.Parallel(a=AddOne(), b=AddOne()), {(2, 2), (2, 2, 2)}),
    "graph": (flow.Graph().add("a", AddOne()).add("b", AddOne(), after="a"), {3, "{'b': 3, 'c': 2}"}),
    "fallback": (flow.fallback(a=AddOne(), b=AddOne()), {2}),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_steps_come_and_go_while_threads_call(kind):
    made, whole = CHANGED[kind]
    seen = Counter()

    def change():
        made._add("c", AddOne())
        made.b = AddOne()
        del made.c

    def call():
        seen[str(made(1))] += 1

    def acall():
        seen[str(asyncio.run(made.acall(1)))] += 1

    with in_threads(change, call, call, acall):
        pass
    assert seen.keys() <= set(map(str, whole)) and seen.total() > 10
    assert made(1) in whole and list(made._modules) == ["a", "b"]


@pytest.mark.parametrize(
    ("made", "attribute"),
    [
        (flow.Map(AddOne()), "step"),
        (flow.Loop(AddOne(), max_steps=2), "body"),
        (flow.IfElse(AddOne(), AddOne()), "condition"),
        (flow.Switch({2: AddOne()}, key=AddOne(), default=AddOne()), "default"),
        (flow.retry(AddOne()), "step"),
        (flow.timeout(AddOne(), 30), "step"),
    ],
    ids=lambda made: type(made).__name__,
)
def test_a_step_is_replaced_while_threads_call(made, attribute):
    given = [1, 1] if isinstance(made, flow.Map) else 1
    whole = made(given)

    def call():
        assert made(given) == whole

    with in_threads(lambda: setattr(made, attribute, AddOne()), call, call):
        pass


class Prompted(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("0")

    async def aforward(self, *args):
        await asyncio.sleep(0)
        return str(self.prompt)


def test_every_call_reads_one_version_while_prompts_are_swapped():
    read = Prompted()
    graph = flow.Graph().add("a", read).add("b", read, after="a").add("c", lambda *read: set(read), after=["a", "b"])
    met = flow.Pipeline(read, flow.barrier(), read)
    made = flow.Parallel(read, flow.Map(met, limit=2), graph, flow.retry(read), reduce=str)
    numbers = iter(range(10**9))

    def swap():
        number = str(next(numbers))
        made.load_state_dict(dict.fromkeys(made.state_dict(), number))

    def call():
        found = made([1, 2, 3])
        assert len(set(filter(str.isdecimal, found.replace("'", " ").split()))) == 1, found

    with in_threads(swap, call, call):
        pass
    assert next(numbers) > 10


def test_threads_that_call_one_flow_do_not_meet_each_others_branches():
    met = flow.Map(flow.Pipeline(add_one_later, flow.barrier(), add_one), limit=2)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(met, [range(number) for number in range(40)])) == [
            list(range(2, number + 2)) for number in range(40)
        ]


# --- barriers and worker threads -------------------------------------------------------------------------------------


class Blocks(nn.Module):
    blocking = True

    def __init__(self):
        super().__init__()
        self.meet = flow.barrier()

    def forward(self, x):
        return self.meet(x)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize(
    "step", [lambda x: flow.Pipeline(add_one, flow.barrier())(x) - 1, Blocks()], ids=["function", "blocking module"]
)
async def test_branches_in_worker_threads_meet_those_on_the_loop(door, step, limit):
    log = []

    def before(x):
        log.append("before")
        return x

    async def after(x):
        log.append("after")
        return x

    in_thread = flow.Pipeline(before, step, after)
    on_loop = flow.Pipeline(before, flow.barrier(), after)
    assert await door(flow.Parallel(in_thread, on_loop, in_thread, limit=limit), 1) == (1, 1, 1)
    assert log == ["before"] * 3 + ["after"] * 3


@pytest.mark.timeout(10)
async def test_a_function_that_is_given_up_in_its_thread_does_not_hold_up_the_others(door):
    def waits(x):
        with contextlib.suppress(asyncio.CancelledError):
            return flow.barrier()(x)

    late = flow.Pipeline(lambda x: time.sleep(0.1) or x, flow.barrier())
    gives_up = flow.fallback(flow.timeout(waits, 0.03), lambda x: "gave up")
    assert await door(flow.Parallel(gives_up, late, late), 1) == ("gave up", 1, 1)


@pytest.mark.timeout(10)
async def test_the_condition_of_an_edge_waits_on_the_loop_of_the_caller():
    opened = asyncio.Event()

    async def holds(x):
        asyncio.get_running_loop().call_soon(opened.set)
        await opened.wait()
        return True

    made = flow.Graph().add("a", add_one_later).add("b", add_one_later, after={"a": holds})
    assert await made.acall(1) == 3


# --- the end of the program ------------------------------------------------------------------------------------------


def raises(error):
    async def step(*args):
        await asyncio.sleep(0)
        raise error

    return step


def wait_for_ever(*args):
    return asyncio.sleep(30)


ENDING = {
    "parallel": lambda step: flow.Parallel(wait_for_ever, step),
    "collecting": lambda step: flow.Parallel(wait_for_ever, step, on_error="collect"),
    "map": lambda step: flow.Pipeline(lambda x: [x], flow.Map(step, on_error="collect")),
    "graph": lambda step: flow.Graph().add("a", wait_for_ever).add("b", step),
    "retry": lambda step: flow.retry(step, backoff=0),
    "fallback": lambda step: flow.fallback(step, add_one),
    "timeout": lambda step: flow.timeout(step, 30),
    "choice": lambda step: flow.IfElse(step, add_one),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ENDING)
def test_what_ends_the_program_is_neither_tried_again_nor_collected(kind, error):
    calls = []
    made = flow.Pipeline(calls.append, ENDING[kind](raises(error)))
    with pytest.raises(error):
        made(1)
    assert calls == [1] and flow.Parallel(add_one_later, add_one)(1) == (2, 2)


CTRL_C = """
    import asyncio, os, signal, sys, threading
    from msgflow import flow
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def slow(*args):
        threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            print("cleaned up", end=" ")

    flows = [
        flow.Parallel(slow), flow.Pipeline(lambda x: [x], flow.Map(slow)), flow.Graph().add("a", slow),
        flow.retry(slow), flow.timeout(slow, 30), flow.fallback(slow, slow), flow.Loop(slow, max_steps=3),
        flow.Parallel(flow.barrier(), slow, limit=1),
    ]
    for made in flows:
        try:
            made(1)
        except KeyboardInterrupt:
            print("ended", end=" ")
"""


def test_ctrl_c_ends_a_blocking_call_of_every_flow_after_it_has_cleaned_up():
    assert run_script(CTRL_C).split() == ["cleaned", "up", "ended"] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_children_call_flows_that_their_parent_is_calling():
    script = """
        import asyncio, os, signal, threading, warnings
        from msgflow import flow
        warnings.simplefilter("ignore")  # Python 3.12 warns of every fork beside threads

        async def later(x):
            await asyncio.sleep(0.001)
            return x

        made = flow.Pipeline(flow.Parallel(lambda x: x, flow.Map(later)), lambda pair: sum(map(sum, pair)))
        stop = threading.Event()
        def calls():
            while not stop.is_set():
                made([1, 2])
        thread = threading.Thread(target=calls)
        thread.start()
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                os._exit(made([1, 2]) + asyncio.run(made.acall([3, 4])))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), end=" ")
        stop.set()
        thread.join()
    """
    assert run_script(script).split() == ["20"] * 5
