"""A Pipeline runs its steps in order; steps may refer to other results."""

import copy
import pickle

import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import FlowStructureError, RefError


class Prompted(nn.Module):
    def __init__(self, prompt):
        super().__init__()
        self.prompt = nn.Parameter(prompt)

    def forward(self, text):
        return f"{self.prompt} {text}"


class Waits(nn.Module):
    async def aforward(self, x):
        return x + 1


async def anext_number(x):
    return x + 1


def add_one(x):
    return x + 1


@pytest.mark.parametrize(
    ("steps", "given", "result"),
    [
        ((), 1, 1),
        ((add_one,), 1, 2),
        ((add_one, str, len), 99, 3),
        ((Waits(), anext_number, add_one, lambda x: anext_number(x)), 1, 5),
        ((flow.Pipeline(add_one, flow.Pipeline(add_one)), add_one), 1, 4),
    ],
    ids=["none", "one", "functions", "async ones", "nested"],
)
async def test_each_step_gets_the_result_of_the_one_before(door, steps, given, result):
    assert await door(flow.Pipeline(*steps), given) == result


async def test_the_first_step_gets_all_arguments(door):
    assert await door(flow.Pipeline(lambda *args, **kwargs: (args, kwargs), str), 1, 2, b=3) == "((1, 2), {'b': 3})"


@pytest.mark.parametrize(
    ("args", "kwargs", "result"),
    [((), {}, None), ((1,), {}, 1), ((1, 2), {}, (1, 2)), ((), {"a": 1}, {"a": 1}), ((1,), {"a": 2}, (1, {"a": 2}))],
)
async def test_an_empty_one_returns_what_it_got(door, args, kwargs, result):
    assert await door(flow.Pipeline(), *args, **kwargs) == result


async def test_a_tuple_is_one_value(door):
    assert await door(flow.Pipeline(lambda x: (x, x), len), 1) == 2


def test_a_flow_is_a_module_with_state_and_a_readable_tree():
    pipeline = flow.Pipeline(greet=Prompted("Hello"), loud=str.upper)
    assert pipeline.state_dict() == {"greet.prompt": "Hello"}
    assert repr(pipeline) == "Pipeline(\n  (greet): Prompted()\n  (loud): Function(upper)\n)"
    pipeline.load_state_dict({"greet.prompt": "Hi"})
    assert pipeline("you") == "HI YOU"
    assert [type(module).__name__ for module in pipeline.modules()] == ["Pipeline", "Prompted", "Function"]


def test_steps_are_there_by_name_and_position():
    first, second = Prompted("1"), Prompted("2")
    pipeline = flow.Pipeline(first, named=second)
    assert (pipeline[0], pipeline["named"], pipeline.named, pipeline[-1]) == (first, second, second, second)
    assert list(pipeline) == [first, second] and len(pipeline) == 2 and flow.Pipeline()
    with pytest.raises(KeyError, match="no step 'other'; it has: 0, named"):
        pipeline["other"]


async def test_a_step_may_be_named_like_a_method(door):
    pipeline = flow.Pipeline(update=add_one, start=add_one, apply=add_one, forward=add_one)
    assert await door(pipeline, 0) == 4 and pipeline.apply(bool) is pipeline


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flow.Pipeline(3), "a step is a Module or a function, not 3 of type int"),
        (lambda: flow.Pipeline(None), "not None of type NoneType"),
        (
            lambda: flow.Pipeline(nn.Sequential),
            r"Sequential is a class of modules; give a module, such as Sequential\(\)",
        ),
        (lambda: flow.Pipeline([str, str]), "not .* of type list"),
        (lambda: flow.Pipeline(a=str).add("a", str), "has a step 'a' already"),
        (lambda: flow.Pipeline(_a=str), "begins with an underscore"),
        (lambda: flow.Pipeline().add("a", flow.bind(str, 1), 2), "has its arguments already"),
    ],
)
def test_what_is_no_step_is_refused(make, message):
    with pytest.raises(FlowStructureError, match=message):
        make()


@pytest.mark.parametrize("name", ["", "a.b", "training"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(KeyError):
        flow.Pipeline().add(name, str)


# --- the `with` form -------------------------------------------------------------------------------------------------


async def test_a_with_block_writes_the_same(door):
    with flow.Pipeline() as pipeline:
        pipeline.f1 = add_one
        pipeline.f2 = Waits()
        with flow.Pipeline() as pipeline.inner:
            pipeline.inner.f3 = lambda x: x * 10
        pipeline.f4 = flow.bind(lambda *values: values, flow.input, flow.ref("f1"), flow.previous)
    assert await door(pipeline, 1) == (1, 2, 30)
    assert list(pipeline.state_dict()) == [] and [name for name, _ in pipeline.named_children()] == [
        "f1",
        "f2",
        "inner",
        "f4",
    ]


def test_a_name_is_given_once_in_a_block():
    with flow.Pipeline() as pipeline:
        pipeline.a = str
        with pytest.raises(FlowStructureError, match="has a step 'a' already"):
            pipeline.a = len


@pytest.mark.parametrize("made", [flow.Map(str), flow.Loop(str, max_steps=1), flow.IfElse(bool, str), flow.Switch({})])
def test_a_flow_that_would_never_call_a_further_step_takes_none(made):
    with pytest.raises(FlowStructureError, match="is given its steps when it is made"), made as opened:
        opened.further = str


def test_after_the_block_attributes_are_ordinary_ones():
    with flow.Pipeline() as pipeline:
        pipeline.f1 = add_one
    pipeline.note = add_one
    assert pipeline(1) == 2 and pipeline.note is add_one and len(pipeline) == 1
    pipeline.f1 = nn.Sequential()
    assert pipeline(1) == 1


def test_a_step_can_be_replaced_and_removed():
    pipeline = flow.Pipeline(a=add_one).add("b", lambda *args: args, flow.input, 2)
    pipeline.b = max  # gets the arguments of the step whose place it takes
    assert pipeline(1) == 2
    pipeline.b = flow.bind(max, 5, 3)
    assert pipeline(1) == 5
    with pytest.raises(FlowStructureError, match="a step is a Module or a function"):
        pipeline.b = None
    del pipeline.b
    assert pipeline(1) == 2
    assert pipeline.add("b", lambda *args: args)(1) == (2,)


# --- references ------------------------------------------------------------------------------------------------------


async def test_a_step_can_refer_to_the_input_to_earlier_results_and_to_parts_of_them(door):
    pipeline = flow.Pipeline(
        words=str.split,
        count=len,
        end=flow.bind(
            lambda text, first, count, n, *, extra: (text, first, count, n, extra),
            flow.input,
            flow.ref("words")[0],
            flow.previous,
            flow.ref("count").numerator,
            extra="a value",
        ),
    )
    assert await door(pipeline, "a b c") == ("a b c", "a", 3, 3, "a value")


async def test_references_in_lists_tuples_and_dicts_are_looked_up(door):
    pipeline = flow.Pipeline(a=lambda x: x + 1)
    pipeline.add("b", lambda *seen: seen, [flow.ref("a"), 5], (flow.input, {"c": flow.ref("a")}), [6])
    assert await door(pipeline, 1) == ([2, 5], (1, {"c": 2}), [6])


async def test_a_reference_reaches_the_flows_around_at_any_depth(door):
    outer = flow.Pipeline(a=add_one)
    inner = flow.Pipeline(b=lambda x: x * 10).add("c", lambda *seen: seen, flow.ref("a"), flow.ref("b"), flow.input)
    for wrap in (flow.Pipeline, flow.Map, lambda step: flow.IfElse(bool, step), flow.Pipeline):
        inner = wrap(inner)
    outer.add("list", lambda a: [a], flow.ref("a")).add("inner", inner).add("end", tuple)
    assert await door(outer, 1) == ((2, 20, 2),)


async def test_the_innermost_flow_with_that_name_is_meant(door):
    inner = flow.Pipeline(a=lambda x: "inner").add("b", lambda a: a, flow.ref("a"))
    assert await door(flow.Pipeline(a=add_one, inner=inner), 1) == "inner"


async def test_the_input_of_a_flow_around_is_there_by_that_flow(door):
    outer = flow.Pipeline(lambda x: x + 1)
    inner = flow.Pipeline().add("pair", lambda *seen: seen, flow.input, flow.input_of(outer))
    outer.add("inner", inner)
    assert await door(outer, 1) == (2, 1)
    twin = copy.deepcopy(outer)
    assert await door(twin, 5) == (6, 5)
    with pytest.raises(RefError, match=r"flow.input_of\(Pipeline\) is asked for outside of that Pipeline"):
        await door(inner, 1)


async def test_the_input_of_several_arguments_is_a_tuple_or_a_dict(door):
    pipeline = flow.Pipeline().add("a", lambda *seen: seen, flow.input[1], flow.input)
    assert await door(pipeline, 1, 2) == (2, (1, 2))
    assert await door(flow.Pipeline().add("a", lambda x: x, flow.input["x"]), x=3) == 3


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        (flow.ref("later"), r"flow.ref\('later'\) is not there yet: that step of Pipeline has not returned"),
        (flow.ref("self"), "is not there yet"),
        (flow.ref("nowhere"), "no flow around this step has a step that was named 'nowhere'; there are results of: a"),
    ],
)
async def test_a_result_that_is_not_there_is_an_error_that_says_so(door, ref, message):
    pipeline = flow.Pipeline(a=str).add("self", lambda x: x, ref).add("later", str)
    with pytest.raises(RefError, match=message) as caught:
        await door(pipeline, 1)
    assert caught.value.__notes__ == ["in step self of Pipeline"]


async def test_a_part_that_is_not_there_raises_what_python_raises(door):
    pipeline = flow.Pipeline(a=lambda x: {"b": x}).add("c", str, flow.ref("a")["z"])
    with pytest.raises(KeyError, match="z") as caught:
        await door(pipeline, 1)
    assert caught.value.__notes__[0] == "while flow.ref('a')['z'] was looked up"


def test_a_reference_is_a_value_that_can_be_compared_copied_and_pickled():
    ref = flow.ref("a")["b"].c[0]
    assert repr(ref) == "flow.ref('a')['b'].c[0]" and repr(flow.previous.x) == "flow.previous.x"
    assert ref == pickle.loads(pickle.dumps(ref)) == copy.deepcopy(ref) != flow.ref("a")["b"].c[1]
    assert hash(ref) == hash(copy.copy(ref)) and flow.input != flow.previous and ref != "a"


@pytest.mark.parametrize(
    "use", [list, bool, lambda ref: ref._private, lambda ref: setattr(ref, "x", 1), lambda ref: "a" in ref]
)
def test_a_reference_is_not_taken_for_the_value(use):
    with pytest.raises((TypeError, AttributeError), match=r"flow.ref\('a'\)|reference|not iterable"):
        use(flow.ref("a"))


@pytest.mark.parametrize("wrong", [lambda: flow.ref(1), lambda: flow.ref(None), lambda: flow.input_of(nn.Module())])
def test_what_cannot_be_referred_to_is_refused(wrong):
    with pytest.raises(TypeError, match=r"a reference is to the name of a step|only a flow has an input"):
        wrong()


def test_calls_at_once_do_not_see_each_others_results():
    import threading

    barrier, seen = threading.Barrier(8), []
    pipeline = flow.Pipeline(a=lambda x: (barrier.wait() and x) or x).add(
        "b", lambda a, x: a == x, flow.ref("a"), flow.input
    )
    threads = [threading.Thread(target=lambda n=n: seen.append(pipeline(n))) for n in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert seen == [True] * 8


# --- errors ----------------------------------------------------------------------------------------------------------


def broken(x):
    return 1 / 0


async def test_an_error_keeps_its_type_and_says_where_it_happened(door):
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = flow.Pipeline(deep=broken)

        def forward(self, x):
            return self.inside(x)

    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(a=str, b=flow.Pipeline(str, c=Holds())), 1)
    assert caught.value.__notes__ == ["in step b.c.inside.deep of Pipeline"] and caught.value.__cause__ is None


async def test_a_flow_that_is_not_in_the_tree_has_a_note_of_its_own(door):
    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(a=lambda x: flow.Pipeline(b=broken)(x)), 1)
    assert caught.value.__notes__ == ["in step b of Pipeline", "in step a of Pipeline"]


async def test_a_name_cannot_forge_a_line(door):
    made = flow.Pipeline(**{"a): X\n  (b": broken})
    assert repr(made) == "Pipeline(\n  (a): X\\n  (b): Function(broken)\n)"
    with pytest.raises(ZeroDivisionError) as caught:
        await door(made, 1)
    assert caught.value.__notes__ == ["in step a): X\\n  (b of Pipeline"]


async def test_an_error_with_a_place_can_be_pickled(door):
    with pytest.raises(ZeroDivisionError) as caught:
        await door(flow.Pipeline(a=broken), 1)
    assert pickle.loads(pickle.dumps(caught.value)).args == ("division by zero",)
    assert copy.deepcopy(caught.value.__notes__) == ["in step a of Pipeline"]


# --- how much --------------------------------------------------------------------------------------------------------


async def test_a_thousand_steps_run(door):
    assert await door(flow.Pipeline(*[mf.nonblocking(add_one)] * 1000), 0) == 1000


@pytest.mark.parametrize("kind", ["plain", "named", "traced"])
async def test_flows_nest_200_deep(door, kind, request):
    if kind == "traced":
        request.getfixturevalue("tracing")
    pipeline = flow.Pipeline(mf.nonblocking(add_one))
    for _ in range(199):
        pipeline = flow.Pipeline(inner=pipeline) if kind == "named" else flow.Pipeline(pipeline)
    assert await door(pipeline, 1) == 2
    assert repr(pipeline).count("Pipeline") == 200 and pipeline.state_dict() == {}


async def test_hooks_and_spans_are_around_each_step(door, tracing):
    pipeline = flow.Pipeline(add=add_one, text=str)
    seen = []
    pipeline["add"].register_forward_hook(lambda module, args, kwargs, output: seen.append(output))
    assert await door(pipeline, 1) == "2" and seen == [2]
    spans = {span.name: span for span in tracing.spans}
    root = next(span for name, span in spans.items() if name.endswith("Pipeline"))
    assert [spans[name].parent.span_id for name in ("add_one", "str")] == [root.context.span_id] * 2
