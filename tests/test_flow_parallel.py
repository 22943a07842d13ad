"""Parallel and Diverter run their branches at once."""

import asyncio
import threading
from contextvars import ContextVar

import anyio
import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import FlowStructureError, InputMismatch
from msgflow.nn.functional import TaskError


def add_one(x):
    return x + 1


def double(x):
    return x * 2


def broken(x):
    return 1 / 0


class Waits(nn.Module):
    async def aforward(self, x):
        return -x


@pytest.mark.parametrize(
    ("branches", "result"),
    [((), ()), ((add_one,), (4,)), ((add_one, double, Waits()), (4, 6, -3))],
    ids=["none", "one", "three"],
)
async def test_all_branches_get_the_input_and_a_tuple_is_returned(door, branches, result):
    assert await door(flow.Parallel(*branches), 3) == result


async def test_a_dict_by_name_and_a_reduction(door):
    assert await door(flow.Parallel(a=add_one, b=double, as_dict=True), 3) == {"a": 4, "b": 6}
    assert await door(flow.Parallel(double, as_dict=True), 3) == {"0": 6}
    assert await door(flow.Parallel(add_one, double, reduce=sum), 3) == 10
    assert await door(flow.Parallel(a=add_one, as_dict=True, reduce=list), 3) == ["a"]

    async def first(results):
        return results[0]

    assert await door(flow.Parallel(add_one, double, reduce=first), 3) == 4


async def test_branches_get_all_arguments(door):
    assert await door(flow.Parallel(lambda *a, **k: (a, k), lambda *a, x: x), 1, x=2) == (((1,), {"x": 2}), 2)


async def test_plain_functions_that_block_run_at_once(door):
    met = threading.Barrier(4)
    assert await door(flow.Parallel(*[lambda x: met.wait(10) >= 0] * 4), 1) == (True,) * 4


async def test_at_most_limit_branches_run_at_a_time(door):
    running, most = [], []

    async def branch(x):
        running.append(1)
        most.append(len(running))
        await anyio.sleep(0.001)
        running.pop()
        return x

    assert await door(flow.Parallel(*[branch] * 10, limit=3), 1) == (1,) * 10
    assert max(most) == 3


async def test_one_failure_cancels_the_others_and_is_raised_as_it_is(door):
    cleaned = threading.Event()

    async def slow(x):
        try:
            await anyio.sleep(30)
        finally:
            cleaned.set()

    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(first=str, second=flow.Parallel(left=slow, right=broken)), 1)
    assert cleaned.is_set() and caught.value.__notes__ == ["in step second.right of Pipeline"]


async def test_errors_can_be_collected_in_place_of_results(door):
    good, bad = await door(flow.Parallel(add_one, broken, on_error="collect"), 1)
    assert good == 2 and isinstance(bad, TaskError) and bad.index == 1 and not bad
    assert isinstance(bad.exception, ZeroDivisionError) and bad.exception.__notes__ == ["in step 1 of Parallel"]


async def test_context_variables_flow_into_branches_and_not_out(door):
    variable = ContextVar("variable", default="outer")

    def branch(x):
        seen = variable.get()
        variable.set("inner")
        return seen

    assert await door(flow.Pipeline(flow.Parallel(branch, branch), lambda x: (*x, variable.get())), 1) == (
        "outer",
        "outer",
        "outer",
    )


async def test_a_branch_can_be_given_references(door):
    parallel = flow.Parallel(plain=add_one).add("pair", lambda *seen: seen, flow.ref("a"), flow.input)
    assert await door(flow.Pipeline(a=double, b=add_one, c=parallel), 1) == (4, (2, 3))


async def test_branches_nest(door):
    inner = flow.Parallel(flow.Pipeline(add_one, flow.Parallel(add_one, double)), double)
    assert await door(flow.Parallel(inner, inner), 1) == (((3, 4), 2), ((3, 4), 2))


async def test_parallels_nest_50_deep(door):
    nested = flow.Parallel(mf.nonblocking(add_one))
    for _ in range(49):
        nested = flow.Parallel(nested, reduce=lambda results: results[0])
    assert await door(nested, 1) == (2,)


async def test_cancelling_cancels_every_branch():
    cleaned = []

    async def slow(x):
        try:
            await anyio.sleep(30)
        finally:
            cleaned.append(x)

    task = asyncio.create_task(flow.Parallel(slow, flow.Parallel(slow, slow)).acall(1))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [1, 1, 1]


async def test_a_branch_that_cleans_up_is_not_cut_short_by_the_failure_of_another(door):
    log = []

    async def clean_up(module, args, kwargs, output):
        await anyio.sleep(0.05)
        log.append("cleaned")

    class Fails(nn.Module):
        async def aforward(self, x):
            raise KeyError("first")

    async def fails_later(x):
        await anyio.sleep(0.01)
        raise ValueError("second")

    fails = Fails()
    fails.register_forward_hook(clean_up, always_call=True)
    with pytest.raises(ValueError, match="second") as caught:
        await door(flow.Parallel(fails, fails_later), 1)
    assert log == ["cleaned"] and "another branch failed, too: KeyError('first')" in str(caught.value.__notes__)


async def test_all_branches_read_one_version(door):
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.prompt = nn.Parameter("one")

        async def aforward(self, x):
            await anyio.sleep(0.001)
            return str(self.prompt)

    reads = Reads()

    def swap(x):
        reads.prompt = "two"
        return str(reads.prompt)

    parallel = flow.Pipeline(flow.Parallel(swap, reads), lambda x: (*x, str(reads.prompt)))
    assert await door(parallel, 1) == ("one", "one", "one") and reads.prompt == "two"


async def test_spans_of_branches_are_below_the_flow(door, tracing):
    await door(flow.Parallel(add_one, Waits()), 1)
    spans = {span.name.split()[-1]: span for span in tracing.spans}
    root = spans["Parallel"].context.span_id
    assert spans["add_one"].parent.span_id == spans["Waits"].parent.span_id == root


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"as_dict": str}, TypeError, "as_dict is True or False"),
        ({"limit": 0}, ValueError, "limit is 0"),
        ({"limit": str}, TypeError, "limit is a whole number, or None for all at once, not"),
        ({"on_error": "ignore"}, ValueError, 'on_error is "cancel" or "collect"'),
        ({"reduce": 3}, TypeError, "reduce is a function of the results"),
        ({"reduce": nn.Sequential()}, FlowStructureError, "put a Module after the Parallel"),
    ],
)
def test_options_of_other_types_are_refused(options, kind, message):
    with pytest.raises(kind, match=message):
        flow.Parallel(add_one, **options)


@pytest.mark.parametrize("name", ["limit", "as_dict", "reduce", "on_error"])
def test_a_branch_cannot_be_named_like_an_option(name):
    with pytest.raises(FlowStructureError, match="an option of it has this name"):
        flow.Parallel().add(name, str)


def test_options_are_shown():
    shown = repr(flow.Parallel(add_one, as_dict=True, reduce=sum, limit=2, on_error="collect"))
    assert "as_dict=True, reduce=sum, limit=2, on_error=collect" in shown


# --- Diverter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1, 2), {}), (((1, 2),), {}), (([1, 2],), {}), ((), {"b": 2, "a": 1}), (({"a": 1, "b": 2},), {})],
    ids=["arguments", "a tuple", "a list", "keywords", "a dict"],
)
async def test_each_branch_gets_its_own_input(door, args, kwargs):
    assert await door(flow.Diverter(a=add_one, b=double), *args, **kwargs) == (2, 4)


async def test_a_diverter_follows_a_parallel_and_has_its_options(door):
    made = flow.Pipeline(flow.Parallel(add_one, double), flow.Diverter(str, double, reduce=list))
    assert await door(made, 1) == ["2", 4]
    made = await door(flow.Diverter(a=add_one, b=broken, as_dict=True, on_error="collect", limit=1), 1, 2)
    assert made["a"] == 2 and isinstance(made["b"], TaskError)


async def test_a_single_branch_gets_the_one_input(door):
    assert await door(flow.Diverter(add_one), 1) == (2,) and await door(flow.Diverter(add_one), [1]) == (2,)
    assert await door(flow.Diverter(len), {"a": 1, "b": 2}) == (2,)
    assert await door(flow.Diverter(), []) == ()


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((1, 2, 3), {}, "3 inputs came for 2 branches"),
        ((1,), {}, "1 inputs came for 2 branches"),
        ((), {}, "0 inputs came for 2 branches"),
        (([1, 2, 3],), {}, "3 inputs came for 2 branches"),
        ((), {"a": 1}, "the inputs are named a, the branches a, b"),
        (({"a": 1, "z": 2},), {}, "the inputs are named a, z, the branches a, b"),
        ((1,), {"b": 2}, "in order or by name, not both"),
    ],
)
async def test_a_mismatch_is_an_error(door, args, kwargs, message):
    with pytest.raises(InputMismatch, match=message) as caught:
        await door(flow.Diverter(a=add_one, b=double), *args, **kwargs)
    assert caught.value.branches == 2
