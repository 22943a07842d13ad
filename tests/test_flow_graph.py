"""A Graph runs each node when those that it comes after have returned."""

import threading

import anyio
import pytest

from msgflow import flow, nn
from msgflow.errors import FlowStructureError, RefError


def add_one(x):
    return x + 1


def double(x):
    return x * 2


def all_of(*args):
    return args


def graph(**nodes):
    """`name=(step, after)`"""
    made = flow.Graph()
    for name, (step, after) in nodes.items():
        made.add(name, step, after=after)
    return made


async def test_a_node_gets_the_results_it_waits_for_in_that_order(door):
    made = graph(a=(add_one, ()), b=(double, []), end=(all_of, ["b", "a"]))
    assert await door(made, 5) == (10, 6)


async def test_nodes_may_be_added_before_those_they_come_after(door):
    assert await door(graph(end=(all_of, ["b", "a"]), b=(double, "a"), a=(add_one, ())), 1) == (4, 2)


async def test_an_empty_graph_returns_its_input_and_a_node_gets_all_arguments(door):
    assert await door(flow.Graph(), 1) == 1
    assert await door(graph(a=(lambda *args, **kwargs: (args, kwargs), ())), 1, 2, b=3) == ((1, 2), {"b": 3})


async def test_several_last_nodes_give_a_dict_by_name(door):
    assert await door(graph(a=(add_one, ()), b=(double, "a"), c=(str, "a")), 1) == {"b": 4, "c": "2"}


async def test_nodes_run_at_once_where_the_edges_allow_it(door):
    met = threading.Barrier(3)
    together = {name: (lambda x: (met.wait(10), x)[1], "start") for name in "abc"}
    made = graph(start=(add_one, ()), **together, end=(all_of, list("abc")))
    assert await door(made, 1) == (2, 2, 2)


async def test_a_fast_branch_does_not_wait_for_a_slow_one(door):
    passed = threading.Event()
    made = graph(
        slow=(lambda x: passed.wait(10), ()),
        fast=(add_one, ()),
        next=(lambda x: passed.set(), "fast"),
        end=(all_of, ["slow", "next"]),
    )
    assert await door(made, 1) == (True, None)


# --- conditions ------------------------------------------------------------------------------------------------------


def routes():
    made = flow.Graph()
    made.add("kind", lambda x: "big" if x > 5 else "small")
    made.add("big", lambda kind: f"<{kind}>", after={"kind": lambda kind: kind == "big"})
    made.add("small", lambda kind: f"({kind})", after={"kind": lambda kind: kind == "small"})
    return made


async def test_an_edge_with_a_condition_carries_only_what_it_holds_for(door):
    made = routes().add("end", lambda *args: args, after=["big", "small"])
    assert (await door(made, 9), await door(made, 1)) == (("<big>",), ("(small)",))


async def test_of_several_last_nodes_those_that_ran_are_returned(door):
    assert (await door(routes(), 9), await door(routes(), 1)) == ({"big": "<big>"}, {"small": "(small)"})


async def test_conditions_may_be_async_and_edges_without_one_always_carry(door):
    async def never(x):
        return False

    made = graph(a=(add_one, ()), b=(double, "a")).add("end", all_of, after={"a": never, "b": None})
    assert await door(made, 1) == (4,)


async def test_a_node_that_no_edge_leads_to_is_left_out_and_so_are_those_after_it(door):
    ran = []
    made = graph(a=(add_one, ()))
    made.add("b", ran.append, after={"a": lambda x: False})
    made.add("c", ran.append, after=["b"])
    made.add("d", all_of, after=["a", "c"])
    assert await door(made, 1) == (2,) and ran == []


async def test_an_end_that_no_edge_leads_to_is_an_error(door):
    made = graph(a=(add_one, ())).add("end", str, after={"a": lambda x: False})
    with pytest.raises(FlowStructureError, match="no edge led to the end of the graph, which is end"):
        await door(made, 1)


async def test_a_condition_that_fails_says_at_which_node(door):
    made = graph(a=(add_one, ())).add("b", str, after={"a": lambda x: 1 / 0})
    with pytest.raises(ZeroDivisionError) as caught:
        await door(made, 1)
    assert caught.value.__notes__ == ["in step b of Graph"]


# --- references ------------------------------------------------------------------------------------------------------


async def test_a_node_waits_for_what_it_refers_to(door):
    made = flow.Graph()
    made.add("end", all_of, flow.input, flow.ref("b"), flow.previous)
    made.add("b", double)
    assert await door(made, 3) == (3, 6, 3)


async def test_a_reference_to_a_node_that_was_left_out_is_an_error(door):
    made = graph(a=(add_one, ())).add("b", str, after={"a": lambda x: False}).add("c", str, flow.ref("b"), after="a")
    with pytest.raises(RefError, match="has not returned"):
        await door(made, 1)


async def test_a_graph_can_refer_to_the_flow_around_it(door):
    made = flow.Graph().add("b", all_of, flow.ref("a"), flow.input)
    assert await door(flow.Pipeline(a=add_one, c=double, g=made), 1) == (2, 4)


# --- what is refused -------------------------------------------------------------------------------------------------


def cycle():
    return graph(x=(str, "y"), y=(str, "z"), z=(str, "x"))


def cycle_of_references():
    made = flow.Graph().add("x", str, flow.ref("y")).add("y", str, after="x")
    return made(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cycle, "in a cycle: (x -> z -> y -> x|x -> y -> z -> x|.* -> .*)"),
        (lambda: graph(x=(str, "x")), "in a cycle: x -> x"),
        (cycle_of_references, "in a cycle"),
        (lambda: graph(x=(str, "nowhere"))(1), "the node 'x' comes after 'nowhere', which is none of: x"),
        (lambda: graph(a=(str, ()), x=(str, ["a", "a"])), "named twice"),
        (lambda: graph(a=(str, ())).add("a", str), "has a step 'a' already"),
        (lambda: graph(a=(str, ()), b=(str, {"a": nn.Sequential()})), "a Module is a node"),
    ],
)
def test_a_graph_that_cannot_run_is_refused(make, message):
    with pytest.raises(FlowStructureError, match=message):
        make()


@pytest.mark.parametrize("after", [[1], {"a": "x > 0"}, [None], {3: None}])
def test_edges_of_other_types_are_refused(after):
    with pytest.raises(TypeError, match=r"comes after names of nodes|the condition of the edge"):
        flow.Graph().add("b", str, after=after)


def test_a_node_that_was_refused_is_not_in_the_graph():
    made = graph(x=(str, "y"))
    with pytest.raises(FlowStructureError):
        made.add("y", str, after="x")
    assert made.add("y", add_one)(1) == "2"


def test_a_node_can_be_removed_and_replaced():
    made = graph(a=(add_one, ()), b=(double, "a"))
    made.b = nn.Sequential()
    assert made(1) == 2
    del made.b
    assert made(1) == 2
    del made.a
    assert made(1) == 1


async def test_one_failure_cancels_the_other_nodes(door):
    cancelled = threading.Event()

    async def slow(x):
        try:
            await anyio.sleep(30)
        except BaseException:
            cancelled.set()
            raise

    with pytest.raises(ZeroDivisionError) as caught:
        await door(graph(a=(slow, ()), b=(lambda x: 1 / 0, ())), 1)
    assert cancelled.is_set() and caught.value.__notes__ == ["in step b of Graph"]


async def test_a_hundred_nodes_in_a_row_and_side_by_side(door):
    made = flow.Graph().add("0", add_one)
    for number in range(1, 100):
        made.add(str(number), add_one, after=str(number - 1))
    assert await door(made, 0) == 100
    wide = graph(**{f"n{number}": (add_one, ()) for number in range(100)})
    wide.add("end", lambda *args: sum(args), after=[f"n{number}" for number in range(100)])
    assert await door(wide, 1) == 200


async def test_the_with_form_adds_nodes_without_edges(door):
    with flow.Graph() as made:
        made.a = add_one
        made.add("b", double, after="a")
    assert await door(made, 1) == 4
