"""What LazyLLM 1.4 binds, written with references. Where ours differs on purpose, the test shows what ours does."""

import copy
import time
from types import SimpleNamespace

import pytest

from msgflow import flow
from msgflow.errors import RefError


def half(x):
    return x / 2


def plus_three(x):
    return x + 3


def weighted(x, y, z=0):
    return x + 10 * y + 100 * z


def all_of(*args):
    return args


async def test_a_step_gets_the_input_and_an_earlier_result_by_keyword(door):
    with flow.Pipeline() as pipeline:
        pipeline.first = plus_three
        pipeline.second = half
        pipeline.end = flow.bind(weighted, flow.previous, y=flow.input, z=flow.ref("first"))
    assert await door(pipeline, 1) == 2 + 10 * 1 + 100 * 4


async def test_a_bound_step_gets_what_is_bound_and_nothing_else(door):
    assert await door(flow.Pipeline(plus_three, flow.bind(all_of, 5)), 1) == (5,)
    assert await door(flow.Pipeline(plus_three, flow.bind(lambda **named: named, y=flow.input)), 1) == {"y": 1}


async def test_arguments_may_change_places(door):
    assert await door(flow.Pipeline(flow.bind(all_of, flow.input[1], flow.input[0])), 1, 2) == (2, 1)


async def test_parts_of_results_are_referred_to_at_any_depth(door):
    pipeline = flow.Pipeline(
        read=lambda x: {"reply": {"texts": [f"a {x}", f"b {x}"]}, "of": SimpleNamespace(size=2)},
        end=flow.bind(all_of, flow.ref("read")["reply"]["texts"][1], flow.ref("read")["of"].size, flow.input["name"]),
    )
    assert await door(pipeline, {"name": "n"}) == ("b {'name': 'n'}", 2, "n")


async def test_results_of_branches_are_bound_one_by_one(door):
    pipeline = flow.Pipeline(first=plus_three, both=flow.Parallel(half, plus_three))
    pipeline.add("end", weighted, flow.input, flow.previous[0], flow.previous[1])
    assert await door(pipeline, 1) == 1 + 10 * 2 + 100 * 7


async def test_branches_are_given_more_than_the_result_before(door):
    pipeline = flow.Pipeline(first=plus_three)
    pipeline.add("both", flow.Parallel(weighted, all_of), flow.input, flow.previous)
    assert await door(pipeline, 1) == (41, (1, 4))


async def test_a_slice_of_a_result_is_one_argument(door):
    pipeline = flow.Pipeline(three=all_of, skipped=len)
    pipeline.add("end", lambda first, rest: (first, *rest), flow.ref("three")[0], flow.ref("three")[2:0:-1])
    assert await door(pipeline, 1, 2, 3) == (1, 3, 2)


async def test_a_nested_flow_refers_to_the_one_around_it_without_any_switch(door):
    with flow.Pipeline() as outer:
        outer.first = plus_three
        outer.second = half
        with flow.Pipeline() as outer.inner:
            outer.inner.end = flow.bind(weighted, flow.previous, flow.input_of(outer), flow.ref("first"))
    assert await door(outer, 1) == 2 + 10 * 1 + 100 * 4


async def test_branches_refer_to_the_flow_around_them(door):
    with flow.Pipeline() as outer:
        outer.first = plus_three
        outer.second = half
        with flow.Parallel(reduce=sum) as outer.both:
            outer.both.a = flow.bind(weighted, flow.previous, flow.input_of(outer), flow.ref("first"))
            outer.both.b = flow.bind(weighted, flow.previous, flow.input_of(outer), flow.ref("second"))
    assert await door(outer, 1) == (2 + 10 + 400) + (2 + 10 + 200)


async def test_each_item_of_a_map_in_a_map_sees_its_own_inputs(door):
    def last_first(numbered):
        (number,) = numbered.values()
        time.sleep((4 - number) / 500)

    row = flow.Pipeline(pause=last_first)
    cell = flow.Pipeline(pause=last_first)
    cell.add("end", all_of, flow.input_of(row)["row"], flow.input["column"], flow.previous)
    row.add("columns", lambda _: [{"column": n} for n in range(4)], flow.previous)
    row.add("cells", flow.Map(cell))
    made = await door(flow.Map(row), [{"row": n} for n in range(4)])
    assert made == [[(row, column, None) for column in range(4)] for row in range(4)]


async def test_keywords_of_the_call_are_parts_of_the_input(door):
    named = flow.Pipeline(lambda x, y: x + y).add("end", all_of, flow.previous, flow.input["y"])
    assert await door(named, x=1, y=2) == (3, 2)
    mixed = flow.Pipeline(lambda x, y: x + y).add("end", all_of, flow.input[0], flow.input[1]["y"])
    assert await door(mixed, 1, y=2) == (1, 2)


async def test_one_bound_step_serves_two_flows(door):
    bound = flow.bind(all_of, flow.ref("a"), flow.input)
    first, second = flow.Pipeline(a=plus_three, end=bound), flow.Pipeline(a=half, b=str, end=bound)
    assert (await door(first, 2), await door(second, 2), await door(first, 4)) == ((5, 2), (1, 2), (7, 4))


async def test_a_copy_of_a_flow_refers_to_its_own_results(door):
    pipeline = flow.Pipeline(a=plus_three, b=half).add("end", all_of, flow.ref("a"), flow.previous)
    twin = copy.deepcopy(pipeline)
    twin.a = twin.b
    assert (await door(pipeline, 1), await door(twin, 1)) == ((4, 2), (0.5, 0.25))


async def test_a_reference_to_what_is_not_there_says_what_is(door):
    with pytest.raises(RefError, match="there are results of: a"):
        await door(flow.Pipeline(a=half, b=flow.bind(half, flow.ref("z"))), 1)
