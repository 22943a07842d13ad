"""Pictures of flows: what leads where, and when."""

from time import monotonic

import pytest

import msgflow.nn as nn
from msgflow import flow
from msgflow.errors import DrawingError, FlowStructureError
from msgflow.flow.expression import DEEPEST
from msgflow.models import ScriptedModel
from tests.flowcharts import read


def clean(x):
    return x


def draft(x):
    return x


def review(x):
    return x


def publish(x):
    return x


def is_long(x):
    return len(x) > 9


def is_good(x):
    return True


def arrows(module):
    return read(module).arrows


# --- one after the other ---------------------------------------------------------------------------------------------


def test_a_pipeline_leads_from_its_input_through_its_steps_to_its_output():
    assert nn.diagram(flow.Pipeline(clean, draft)) == (
        "flowchart TD\n"
        '    n0(["input"])\n'
        '    n1["clean"]\n'
        '    n2["draft"]\n'
        "    n1 --> n2\n"
        "    n0 --> n1\n"
        '    n3(["output"])\n'
        "    n2 --> n3\n"
    )


def test_steps_have_their_names_and_what_they_are():
    agent = nn.Agent("writer", ScriptedModel("x"))
    steps = read(flow.Pipeline(agent, lambda x: x, first=clean, clean=clean, gate=flow.barrier(5))).nodes[1:-1]
    writer = "Agent('writer', model='test/scripted')"
    assert steps == [writer, "<lambda>", "first: clean", "clean", "gate: Barrier(timeout=5)"]


def test_what_a_step_is_given_is_written_in_it():
    pipeline = flow.Pipeline(f1=clean, f2=draft)
    pipeline.add("f3", publish, flow.input, flow.ref("f2")["text"], n="x" * 100, previous=flow.previous)
    given = f"flow.input, flow.ref('f2')['text'], n='{'x' * 39}, previous=flow.previous"
    assert f"f3: publish({given})" in read(pipeline).nodes


@pytest.mark.parametrize("empty", [flow.Pipeline(), flow.Parallel(), flow.Graph(), flow.Inline("", {})], ids=type)
def test_an_empty_flow_is_a_node(empty):
    name = "Inline('')" if isinstance(empty, flow.Inline) else type(empty).__name__
    assert arrows(empty) == [f"input -> {name}", f"{name} -> output"]


def test_a_sequential_in_a_flow_is_one_after_the_other():
    assert arrows(flow.Pipeline(nn.Sequential(nn.Function(clean), nn.Function(draft)), publish)) == [
        "clean -> draft",
        "draft -> publish",
        "input -> clean",
        "publish -> output",
    ]


# --- branches --------------------------------------------------------------------------------------------------------


def test_a_parallel_is_a_fork_and_a_join():
    parallel = flow.Parallel(clean, flow.Pipeline(draft, review), reduce=sum, limit=2)
    fork = "Parallel(reduce=sum, limit=2)"
    assert set(arrows(flow.Pipeline(parallel, publish))) == {
        f"input -> {fork}",
        f"{fork} -> clean",
        f"{fork} -> draft",
        "draft -> review",
        "clean -> *",
        "review -> *",
        "* -> publish",
        "publish -> output",
    }
    assert read(parallel).shapes[fork] == "fork"


def test_in_a_box_of_its_own_the_fork_is_a_point():
    picture = read(flow.Pipeline(both=flow.Parallel(clean, draft)))
    assert picture.boxes == {"both: Parallel": ["*", "clean", "draft", "*"]}
    assert picture.arrows[:2] == ["* -> clean", "* -> draft"]


def test_a_diverter_says_which_input_goes_where():
    assert set(arrows(flow.Diverter(clean, left=draft))) == {
        "input -> Diverter",
        "Diverter -[0]-> clean",
        "Diverter -[left]-> left: draft",
        "clean -> *",
        "left: draft -> *",
        "* -> output",
    }


def test_a_map_is_a_box_for_each_item():
    picture = read(flow.Map(flow.Pipeline(clean, draft), limit=4))
    assert picture.boxes == {"Map(limit=4), for each item": ["clean", "draft"]}
    assert picture.arrows == ["clean -> draft", "input -> clean", "draft -> output"]


# --- what may fail ---------------------------------------------------------------------------------------------------


def test_retries_and_time_limits_are_boxes():
    picture = read(flow.Pipeline(flow.retry(clean, 5), late=flow.timeout(draft, 1.5)))
    assert picture.boxes == {"Retry(times=5)": ["clean"], "late: Timeout(1.5 s)": ["draft"]}
    assert picture.arrows == ["clean -> draft", "input -> clean", "draft -> output"]


def test_a_fallback_says_when_the_next_step_is_called():
    picture = read(flow.fallback(clean, draft, review))
    assert picture.boxes == {"Fallback": ["clean", "draft", "review"]}
    assert picture.arrows == [
        "clean ~[on error]~> draft",
        "draft ~[on error]~> review",
        "input -> clean",
        "clean -> output",
        "draft -> output",
        "review -> output",
    ]
    narrow = flow.fallback(clean, draft, on=(ValueError, TimeoutError))
    assert "clean ~[on ValueError or TimeoutError]~> draft" in arrows(narrow)


# --- choices ---------------------------------------------------------------------------------------------------------


def test_an_ifelse_is_a_decision_and_both_ways_meet_again():
    picture = read(flow.Pipeline(flow.IfElse(is_long, clean, draft), publish))
    assert picture.shapes["is_long"] == "decision"
    assert picture.arrows == [
        "is_long -[yes]-> clean",
        "is_long -[no]-> draft",
        "clean -> publish",
        "draft -> publish",
        "input -> is_long",
        "publish -> output",
    ]


def test_without_otherwise_the_way_goes_on():
    assert arrows(flow.IfElse(is_long, clean)) == [
        "is_long -[yes]-> clean",
        "input -> is_long",
        "clean -> output",
        "is_long -[no]-> output",
    ]


def test_a_switch_has_an_edge_for_each_case_and_the_default():
    switch = flow.Switch({"a": clean, 2: draft, is_long: review, str: publish}, default=clean)
    assert arrows(switch) == [
        "Switch -['a']-> clean",
        "Switch -[2]-> draft",
        "Switch -[is_long]-> review",
        "Switch -[str]-> publish",
        "Switch -[default]-> clean",
        "input -> Switch",
        "clean -> output",
        "draft -> output",
        "review -> output",
        "publish -> output",
        "clean -> output",
    ]


def test_the_key_of_a_switch_is_what_is_asked():
    assert arrows(flow.Switch({True: clean}, key=is_long))[:2] == ["is_long -[True]-> clean", "input -> is_long"]


def test_a_question_that_is_a_module_is_the_decision():
    picture = read(flow.IfElse(nn.Agent("judge", ScriptedModel("x")), clean, draft))
    assert picture.shapes["Agent('judge', model='test/scripted')"] == "decision"
    assert "Agent('judge', model='test/scripted') -[yes]-> clean" in picture.arrows


def test_a_question_that_is_a_flow_has_its_steps_before_the_decision():
    assert arrows(flow.Switch({1: clean}, key=flow.Pipeline(draft, is_long))) == [
        "draft -> is_long",
        "is_long -> key?",
        "key? -[1]-> clean",
        "input -> draft",
        "clean -> output",
    ]


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_loop_leads_back_until_its_condition_holds():
    picture = read(flow.Pipeline(flow.Loop(flow.Pipeline(draft, review), until=is_good, max_steps=5), publish))
    assert picture.shapes["is_good"] == "decision"
    assert picture.arrows == [
        "draft -> review",
        "review -> is_good",
        "is_good -[no, up to 5 rounds]-> draft",
        "is_good -[yes]-> publish",
        "input -> draft",
        "publish -> output",
    ]


def test_a_loop_without_a_condition_says_how_often():
    assert arrows(flow.Loop(flow.IfElse(is_long, clean), max_steps=3)) == [
        "is_long -[yes]-> clean",
        "clean -[3 rounds]-> is_long",
        "is_long -[no, 3 rounds]-> is_long",
        "input -> is_long",
        "clean -> output",
        "is_long -[no]-> output",
    ]


# --- graphs ----------------------------------------------------------------------------------------------------------


def test_a_graph_has_its_edges_with_their_conditions():
    graph = flow.Graph()
    graph.add("sort", clean)
    graph.add("long", draft, after={"sort": is_long})
    graph.add("short", review, after="sort")
    graph.add("end", publish, after=["long", "short"])
    assert arrows(graph) == [
        "sort: clean -[is_long]-> long: draft",
        "sort: clean -> short: review",
        "long: draft -> end: publish",
        "short: review -> end: publish",
        "input -> sort: clean",
        "end: publish -> output",
    ]


def test_several_first_and_several_last_nodes_are_joined():
    graph = flow.Graph().add("a", clean).add("b", draft)
    graph.add("c", review, after=["a", "b"]).add("d", publish, after="b")
    assert arrows(graph) == [
        "* -> a: clean",
        "* -> b: draft",
        "a: clean -> c: review",
        "b: draft -> c: review",
        "b: draft -> d: publish",
        "c: review -> *",
        "d: publish -> *",
        "input -> *",
        "* -> output",
    ]


def test_what_a_node_refers_to_is_an_edge_as_well():
    graph = flow.Graph().add("a", clean).add("b", draft, after="a").add("c", review, flow.ref("a"), after="b")
    assert "a: clean ~> c: review(flow.ref('a'))" in arrows(graph)


def test_a_graph_that_cannot_run_cannot_be_drawn():
    with pytest.raises(FlowStructureError, match="'b' comes after 'a', which is none of: b"):
        nn.diagram(flow.Graph().add("b", clean, after="a"))


# --- expressions -----------------------------------------------------------------------------------------------------


def inline(expression):
    return flow.Inline(expression, {name: lambda message: None for name in "abcd"})


def short_arrows(module):
    return [line.replace(": <lambda>", "") for line in arrows(module)]


def test_an_expression_is_drawn_as_it_reads():
    assert short_arrows(inline("a -> [b, c -> d] -> {x.y > 0.5 ? a, b} -> c")) == [
        "* -> b",
        "c -> d",
        "* -> c",
        "b -> *",
        "d -> *",
        "x.y > 0.5 -[yes]-> a",
        "x.y > 0.5 -[no]-> b",
        "a -> *",
        "* -> x.y > 0.5",
        "a -> c",
        "b -> c",
        "input -> a",
        "c -> output",
    ]


def test_a_loop_in_an_expression_asks_first():
    assert short_arrows(inline("@{n < 3}: a -> b;")) == [
        "a -> b",
        "n < 3 -[yes]-> a",
        "b -> n < 3",
        "input -> n < 3",
        "n < 3 -[no]-> output",
    ]


def test_a_choice_without_an_else_goes_on():
    assert short_arrows(inline("{n is None ? a}"))[-1] == "n is None -[no]-> output"


def test_a_new_expression_is_a_new_picture():
    flowing = inline("a -> b")
    flowing.expression = "b -> a"
    assert "b -> a" in short_arrows(flowing)


def test_a_step_that_was_taken_out_is_still_in_the_expression():
    flowing = inline("a -> b")
    del flowing.b
    assert short_arrows(flowing) == ["a -> b", "input -> a", "b -> output"]


@pytest.mark.parametrize("deepest", ["{a ? %s}", "[%s]", "@{a}: %s;", "{a ? b, %s}"])
def test_the_deepest_expression_is_drawn(deepest):
    expression = "a"
    for _ in range(DEEPEST):
        expression = deepest.replace("%s", expression)
    assert len(read(inline(expression)).nodes) > DEEPEST


def test_the_longest_expression_is_drawn_in_little_time():
    flowing = inline("->".join(["{a ? b}"] * 4500))
    began = monotonic()
    # It takes half a second; in quadratic time it would be minutes, and a tracer, such as coverage, takes its part.
    assert nn.diagram(flowing).count("\n") > 9000 and monotonic() - began < 15


def test_what_is_too_deep_for_the_stack_says_so():
    nested = flow.Pipeline(clean)
    for _ in range(2000):
        nested = flow.Pipeline(nested)
    with pytest.raises(DrawingError, match="nested too deep"):
        nn.diagram(nested)
