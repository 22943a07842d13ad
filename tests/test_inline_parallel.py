"""The branches of an Inline run at once, each on its own copy of the message; their changes are merged."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

import msgflow as mf
from msgflow import flow, nn
from msgflow.errors import ExpressionError, MessageConflict
from tests.eventually import eventually


def sets(**changes):
    return lambda message: changes


async def test_branches_that_block_run_at_once(door):
    meeting = threading.Barrier(2, timeout=10)

    def meet(message):
        return {f"branch_{meeting.wait()}": True}

    assert await door(flow.Inline("[meet, meet]", {"meet": meet}), {}) == {"branch_0": True, "branch_1": True}


async def test_branches_that_await_run_at_once(door):
    arrived, all_here = [], asyncio.Event()

    async def meet(message):
        arrived.append(message)
        if len(arrived) == 3:
            all_here.set()
        await all_here.wait()

    workflow = flow.Inline("[meet, {n ? meet}, @{n}: meet -> stop;]", {"meet": meet, "stop": sets(n=0)})
    assert await door(workflow, {"n": 1}) == {"n": 0}


async def test_a_branch_sees_no_changes_of_the_others(door):
    first, second = threading.Event(), threading.Event()

    def early(message):
        message["a.early"] = 1
        first.set()
        second.wait(10)
        return {"seen.early": sorted(message["a"])}

    def late(message):
        first.wait(10)
        message["a.late"] = 2
        second.set()
        return {"seen.late": sorted(message["a"])}

    given = mf.Message({"a.old": 0, "gone": 1})
    result = await door(flow.Inline("[early, late -> drop]", {"early": early, "late": late, "drop": drop}), given)
    assert result == {
        "a": {"old": 0, "early": 1, "late": 2},
        "seen": {"early": ["early", "old"], "late": ["late", "old"]},
    }
    assert given == {"a": {"old": 0}, "gone": 1}


def drop(message):
    del message["gone"]


async def test_branches_that_disagree_name_the_key_and_the_place(door):
    steps = {"a": sets(**{"user.n": 1}), "b": sets(**{"user.n": 2}), "c": sets(**{"user.m": 2})}
    with pytest.raises(MessageConflict, match=r"branches 0 and 2 changed 'user\.n' differently") as caught:
        await door(flow.Inline("c ->\n  [a, c, b]", steps), {})
    assert caught.value.key == "user.n" and tuple(caught.value.branches) == (0, 2)
    assert caught.value.__notes__ == ["in the branches of Inline at line 2, column 3"]


async def test_branches_that_agree_are_no_conflict(door):
    assert await door(flow.Inline("[a, a, a -> b]", {"a": sets(n=1), "b": sets(m=2)}), {}) == {"n": 1, "m": 2}


async def test_branches_in_branches_are_merged_with_what_came_before_them(door):
    steps = {name: sets(**{f"by.{name}": True}) for name in "abcd"} | {"drop": drop}
    result = await door(flow.Inline("a -> [b -> [c, drop] -> d, [d, [a]]]", steps), {"gone": 1})
    assert result == {"by": dict.fromkeys("abcd", True)}


async def test_loops_of_branches_begin_with_what_the_last_round_merged(door):
    def grow(name):
        return lambda message: {name: message[name] + message["a"]}

    result = await door(flow.Inline("@{a < 8}: [a, b];", {"a": grow("a"), "b": grow("b")}), {"a": 1, "b": 0})
    assert result == {"a": 8, "b": 7}


async def test_the_first_failure_cancels_the_others_and_is_raised_as_it_is(door):
    ended = []

    async def slow(message):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("slow")
            raise

    async def broken(message):
        await asyncio.sleep(0.01)
        return {"n": 1 / 0}

    workflow = flow.Inline("[slow, a -> broken, slow]", {"slow": slow, "broken": broken, "a": sets(a=1)})
    with pytest.raises(ZeroDivisionError) as caught:
        await door(workflow, {})
    assert ended == ["slow", "slow"] and caught.value.__notes__ == ["in step broken of Inline"]


async def test_a_condition_without_an_answer_in_a_branch_is_raised_with_its_place(door):
    with pytest.raises(ExpressionError, match="line 1, column 8: m < 3 has no answer"):
        await door(flow.Inline("[a, {m < 3 ? a}]", {"a": sets(a=1)}), {})


async def test_cancelling_a_call_cancels_its_branches():
    running, ended = asyncio.Event(), []

    async def slow(message):
        running.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(message["name"])

    call = asyncio.create_task(
        flow.Inline("[a -> slow, b -> slow]", {"a": sets(name="a"), "b": sets(name="b"), "slow": slow}).acall({})
    )
    await running.wait()
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sorted(ended) == ["a", "b"]


async def test_branches_meet_at_a_barrier(door):
    order = []
    steps = {name: lambda message, name=name: order.append(name) for name in ("a", "b", "c")}
    steps["meet"] = nn.Sequential(flow.barrier(timeout=10), flow.Pipeline(sets()))
    await door(flow.Inline("[a -> meet -> c, b -> meet -> c]", steps), {})
    assert sorted(order[:2]) == ["a", "b"] and order[2:] == ["c", "c"]


request_id = ContextVar("request_id")


async def test_context_variables_flow_into_branches(door):
    request_id.set("r7")
    workflow = flow.Inline("[a, b]", {"a": lambda message: {"a": request_id.get()}, "b": sets(b=1)})
    assert (await door(workflow, {}))["a"] == "r7"


async def test_branches_are_spans_under_the_call(tracing, door):
    def one(message): ...

    def two(message): ...

    await door(flow.Inline("[one, two]", {"one": one, "two": two}), {})
    spans = {span.name: span for span in tracing.spans}
    parent = spans.get("invoke_workflow Inline") or spans["Inline"]
    assert {spans["one"].parent.span_id, spans["two"].parent.span_id} == {parent.context.span_id}


async def test_many_calls_at_once_do_not_mix_their_messages():
    workflow = flow.Inline("[a -> b, c]", {name: grown(name) for name in "abc"})
    results = await asyncio.gather(*(workflow.acall({"n": n}) for n in range(200)))
    assert [(result["a"], result["b"], result["c"]) for result in results] == [(n, n, n) for n in range(200)]


def grown(name):
    async def step(message):
        await asyncio.sleep(0)
        return {name: message["n"]}

    return step


class Marked(nn.Module):
    """Appends its prompt."""

    def __init__(self):
        super().__init__()
        self.mark = nn.Parameter("0")

    def forward(self, message):
        return {"text": message.get("text", "") + self.mark}


def test_every_call_runs_one_shape_wholly_while_it_is_swapped():
    """Eight threads call, one swaps the expression together with a prompt of its steps."""
    workflow = flow.Inline("a -> b -> a", {name: Marked() for name in "ab"})
    shapes = [
        ({"expression": "a -> b -> a", "a.mark": "0", "b.mark": "1"}, "010"),
        ({"expression": "b -> {text == '3' ? b -> b, a}", "a.mark": "2", "b.mark": "3"}, "333"),
        (
            {"expression": "@{text is None or text not in ['454', '45']}: a -> b; -> a", "a.mark": "4", "b.mark": "5"},
            "454",
        ),
    ]
    workflow.load_state_dict(shapes[0][0])
    seen, over = [set() for _ in range(8)], threading.Event()

    def call(mine):
        while not over.is_set():
            mine.add(workflow({})["text"])

    threads = [threading.Thread(target=call, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for index in range(150):
        state, text = shapes[index % 3]
        workflow.load_state_dict(state)
        if index < 3:  # on a slow machine, too, each shape has its calls
            eventually(lambda text=text: text in set().union(*seen))
        with pytest.raises(mf.errors.StateDictError):
            workflow.load_state_dict({**shapes[0][0], "expression": "a -> nope"})
    over.set()
    for thread in threads:
        thread.join(10)
    assert set().union(*seen) == {text for _, text in shapes}
