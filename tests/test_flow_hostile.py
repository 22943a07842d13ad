"""What flows are given by mistake or in malice: names, steps, items, errors, hooks."""

import asyncio
import copy
import pickle
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import FlowStructureError


@mf.nonblocking
def add_one(*values):
    return values[-1] + 1


async def add_one_later(x):
    await asyncio.sleep(0)
    return x + 1


def first(results):
    return results[0]


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [flow.Pipeline, flow.Parallel, flow.Diverter, flow.Fallback])
@pytest.mark.parametrize(
    "name", ["self", "cls", "kwargs", "steps", "step", "forward", "reads", "a b", "é", "-1", "a\nb"]
)
async def test_a_step_may_have_any_name_that_takes_nothing_away(door, kind, name):
    made = kind(**{name: add_one})
    assert await door(made, 1) in (2, (2,)) and made[name] is made[0]
    assert copy.deepcopy(made)[name] is not made[name]


@pytest.mark.parametrize("name", ["_a", "__class__", "", "a.b", "training"])
def test_other_names_are_refused_and_leave_nothing_behind(name):
    for made in (flow.Pipeline(), flow.Parallel(), flow.Graph()):
        with pytest.raises((KeyError, FlowStructureError)):
            made.add(name, add_one, flow.input)
        assert len(made) == 0 and not made._bindings and made.add("a", add_one)(1) in (2, (2,))


@pytest.mark.parametrize("name", [None, 3, b"a", ("a",)])
def test_what_is_no_text_is_no_name(name):
    for made in (flow.Pipeline(), flow.Parallel(), flow.Graph()):
        with pytest.raises(TypeError, match="a name is text"):
            made.add(name, add_one)
        assert len(made) == 0


@pytest.mark.parametrize("kind", [flow.Pipeline, flow.Parallel, flow.Fallback])
def test_two_steps_of_one_name_are_refused(kind):
    with pytest.raises(FlowStructureError, match="has a step '0' already"):
        kind(add_one, **{"0": add_one})


async def test_a_function_may_have_a_parameter_called_function(door):
    assert await door(nn.Function(lambda function: function), function=1) == 1


# --- steps and cases -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, 3, "text", [add_one], {"a": add_one}, nn.Sequential, flow.Pipeline, object()])
@pytest.mark.parametrize(
    "make",
    [
        flow.Pipeline,
        flow.Parallel,
        flow.Diverter,
        flow.Map,
        flow.Fallback,
        flow.retry,
        lambda step: flow.timeout(step, 1),
        lambda step: flow.IfElse(bool, step),
        lambda step: flow.Loop(step, max_steps=1),
        lambda step: flow.Switch({1: step}),
        lambda step: flow.Graph().add("a", step),
    ],
)
def test_what_is_no_step_is_refused_when_the_flow_is_made(make, wrong):
    with pytest.raises(FlowStructureError, match=r"a step is a Module or a function, not|is a class of modules"):
        make(wrong)


@pytest.mark.parametrize("case", [list[int], dict[str, int], Literal["a"], Counter[str], Callable[..., int]])
def test_a_case_that_would_fit_anything_or_nothing_is_refused(case):
    with pytest.raises(FlowStructureError, match=r"cannot be a case.* as in int \| str"):
        flow.Switch([(case, add_one)])


async def test_a_union_of_classes_is_a_case(door):
    made = flow.Switch({int | float: add_one, str | None: repr}, default=type)
    assert [await door(made, x) for x in (1, 1.5, "a", None, ())] == [2, 2.5, "'a'", "None", tuple]


async def test_a_case_is_shown_whatever_its_name_is(door):
    class Odd:
        __name__ = 5

        def __call__(self, x):
            return x == 1

        def __repr__(self):
            return "<odd>"

    made = flow.Switch([(Odd(), add_one)])
    assert await door(made, 1) == 2 and "(case_0)" in repr(made)
    with pytest.raises(mf.errors.NoMatch, match="there are: <odd>"):
        await door(made, 3)


async def test_a_step_that_was_taken_out_is_missed_with_a_word(door):
    for made, name, given in [
        (flow.Map(add_one), "step", [1]),
        (flow.retry(add_one, backoff=0), "step", 1),
        (flow.timeout(add_one, 1), "step", 1),
        (flow.Loop(add_one, max_steps=1), "body", 1),
    ]:
        delattr(made, name)
        with pytest.raises(KeyError, match=f"has no step '{name}'"):
            await door(made, given)
    fallback = flow.fallback(a=add_one)
    del fallback.a
    with pytest.raises(FlowStructureError, match="no steps left"):
        await door(fallback, 1)


async def test_a_graph_may_have_prompts_beside_its_nodes(door):
    made = flow.Graph().add("a", add_one)
    made.note, made.limit = nn.Parameter("a note"), 3
    made.register_buffer("size", 1)
    assert await door(made, 1) == 2 and made.state_dict() == {"note": "a note", "size": 1} and len(made) == 1
    del made.note, made.limit
    assert await door(made, 1) == 2


async def test_a_node_that_was_removed_closes_no_cycle(door):
    made = flow.Graph().add("a", add_one, after="b")
    del made.a
    assert await door(made.add("b", add_one, after="a").add("a", add_one), 1) == 3


# --- errors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class TakesNoNotes(Exception):
    __notes__ = "a text"


class Slotted(Exception):
    __slots__ = ("code",)


WRAPS = [
    flow.Pipeline,
    lambda step: flow.Parallel(step, add_one_later),
    lambda step: flow.Parallel(step, step),
    lambda step: flow.Pipeline(lambda x: [x, x], flow.Map(step)),
    lambda step: flow.Graph().add("a", step),
    lambda step: flow.IfElse(bool, step),
    lambda step: flow.Loop(step, max_steps=2),
    lambda step: flow.retry(step, times=2, backoff=0),
    lambda step: flow.timeout(step, 30),
    lambda step: flow.fallback(step, step),
    lambda step: flow.Pipeline().add("a", step, flow.input),
]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize(
    "error", [Frozen(1), TakesNoNotes(1), Slotted(1), ExceptionGroup("both", [KeyError(1), Frozen(2)])], ids=repr
)
async def test_every_error_comes_out_as_it_is(door, wrap, error):
    async def fails(x):
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)) as caught:
        await door(wrap(fails), 1)
    assert caught.value is error


@pytest.mark.parametrize("wrap", WRAPS)
async def test_one_error_that_is_raised_again_and_again_collects_no_notes(door, wrap):
    error = ValueError("one for ever")

    def fails(x):
        raise error

    made = wrap(flow.Pipeline(a=fails))
    for _ in range(10):
        with pytest.raises(ValueError, match="one for ever"):
            await door(made, 1)
    assert len(error.__notes__) <= 4


async def test_of_an_error_that_several_branches_raise_nobody_says_that_it_failed_too(door):
    error = ValueError("shared")

    async def fails(x):
        await asyncio.sleep(0)
        raise error

    with pytest.raises(ValueError, match="shared") as caught:
        await door(flow.Parallel(fails, fails), 1)
    assert caught.value.__notes__ == ["in step 0 of Parallel", "in step 1 of Parallel"]


# --- items -----------------------------------------------------------------------------------------------------------


def breaks_off():
    yield 1
    raise KeyError("half-way")


async def breaks_off_later():
    yield 1
    raise KeyError("half-way")


async def without_end():
    while True:
        await asyncio.sleep(0)
        yield 1


@pytest.mark.parametrize("items", [breaks_off, breaks_off_later])
async def test_items_that_break_off_are_an_error_before_anything_is_called(door, items):
    called = []
    with pytest.raises(KeyError, match="half-way"):
        await door(flow.Map(called.append), items())
    with pytest.raises(KeyError, match="half-way"):
        [pair async for pair in flow.Map(called.append).stream(items())]
    assert called == []


async def test_items_without_end_can_be_cancelled():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await flow.Map(add_one).acall(without_end())


# --- what is around a step -------------------------------------------------------------------------------------------


FLOWS = {
    "pipeline": (lambda step: flow.Pipeline(a=step, b=step), 1),
    "parallel": (lambda step: flow.Parallel(step, step), 1),
    "limited": (lambda step: flow.Parallel(step, step, limit=1), 1),
    "diverter": (lambda step: flow.Diverter(step, step), [1, 1]),
    "map": (lambda step: flow.Map(step), [1, 1]),
    "switch": (lambda step: flow.Switch({2: step}, key=step, default=step), 1),
    "if": (lambda step: flow.IfElse(step, step), 1),
    "loop": (lambda step: flow.Loop(step, until=step), 1),
    "graph": (lambda step: flow.Graph().add("a", step).add("b", step, after="a"), 1),
    "lone node": (lambda step: flow.Graph().add("a", step), 1),
    "retry": (lambda step: flow.retry(step), 1),
    "timeout": (lambda step: flow.timeout(step, 30), 1),
    "fallback": (lambda step: flow.fallback(step), 1),
    "barrier": (lambda step: flow.Parallel(flow.Pipeline(flow.barrier(), step), flow.barrier(), limit=1), 1),
}


class AddOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter("1")

    async def aforward(self, x):
        await asyncio.sleep(0)
        return x + int(self.by)


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("step", [AddOne(), lambda x: x + 1], ids=["module", "function"])
async def test_a_root_call_is_one_tree_of_spans(door, tracing, kind, step):
    make, given = FLOWS[kind]
    await door(make(step), given)
    spans = {span.context.span_id: span for span in tracing.spans}
    (root,) = [span for span in spans.values() if span.parent is None]
    for span in spans.values():
        assert span.context.trace_id == root.context.trace_id
        if span is not root:
            around = spans[span.parent.span_id]
            assert around.start_time <= span.start_time <= span.end_time <= around.end_time


@pytest.mark.parametrize("kind", FLOWS)
async def test_hooks_replace_what_goes_in_and_out_of_every_flow_and_step(door, kind):
    make, given = FLOWS[kind]
    made, seen = make(AddOne()), Counter()
    expected = await door(make(AddOne()), [8, 8] if given == [1, 1] else 8)

    async def before(module, args, kwargs):
        seen[module, "before"] += 1
        return args, kwargs

    def after(module, args, kwargs, output):
        seen[module, "after"] += 1

    for module in made.modules():
        module.register_forward_pre_hook(before)
        module.register_forward_hook(after, always_call=True)
    made.register_forward_pre_hook(lambda module, args, kwargs: (([8, 8] if given == [1, 1] else 8,), {}))
    made.register_forward_hook(lambda module, args, kwargs, output: ("wrapped", output))
    assert await door(made, given) == ("wrapped", expected)
    assert all(seen[module, "before"] == seen[module, "after"] for module in made.modules()) and seen[made, "after"]


@pytest.mark.parametrize("kind", ["parallel", "limited", "diverter", "map", "graph", "lone node", "timeout", "barrier"])
async def test_context_variables_flow_into_branches_and_never_out(kind):
    variable, seen = ContextVar("variable", default="outer"), []

    async def step(x):
        seen.append(variable.get())
        variable.set("inner")
        return x

    make, given = FLOWS[kind]
    await make(step).acall(given)
    assert set(seen) == {"outer"} == {variable.get()}


# --- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("kind", FLOWS)
async def test_a_copy_does_the_same_and_shares_nothing(door, kind, copied):
    make, given = FLOWS[kind]
    made = make(AddOne())
    expected = await door(made, given)
    twin = copied(made)
    assert await door(twin, given) == expected and repr(twin) == repr(made)
    assert not set(twin.modules()) & set(made.modules())
    twin.load_state_dict(dict.fromkeys(twin.state_dict(), "5"))
    assert await door(made, given) == expected != await door(twin, given) or kind == "barrier"
    assert made.state_dict() == dict.fromkeys(made.state_dict(), "1")
