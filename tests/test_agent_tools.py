"""The agent loop: which tools are run, with what, at once, and how their results and failures come back."""

import asyncio
import contextvars
import threading

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow.errors import ToolError
from msgflow.messages import assistant, tool_answer
from msgflow.models import ScriptedModel
from tests.tool_calls import add, answers, call, returning


async def test_calls_that_are_asked_for_at_once_run_at_once_and_are_answered_in_order(door):
    everyone = threading.Barrier(3)

    def meet(number: int) -> int:
        everyone.wait(10)
        return number

    calls = tuple(call("meet", f'{{"number": {n}}}', id=f"c{n}") for n in (2, 0, 1))
    model = ScriptedModel(calls, "done")
    await door(nn.Agent("a", model, tools=[meet]), "go")
    assert model.requests[1].messages[1:] == (
        assistant("", *calls),
        *(tool_answer(asked, asked.id[1:]) for asked in calls),
    )


async def test_async_tools_overlap_too_and_answers_keep_the_order_of_the_calls():
    second_has_run = asyncio.Event()

    async def first():
        await second_has_run.wait()
        return "first"

    async def second():
        second_has_run.set()
        return "second"

    agent = nn.Agent("a", ScriptedModel((call("first", id="1"), call("second", id="2")), "done"), tools=[first, second])
    said = (await agent.arun("go")).messages
    assert [message.text for message in said if message.role == "tool"] == ["first", "second"]


async def test_a_tool_that_raises_is_a_tool_error_and_the_others_are_cancelled(door):
    waiting, cancelled = threading.Event(), []

    async def waits():
        waiting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append("waits")
            raise

    def fails(x: int) -> None:
        waiting.wait(10)
        raise ZeroDivisionError("by zero")

    model = ScriptedModel((call("waits"), call("fails", '{"x": 1}', id="2")))
    with pytest.raises(ToolError, match="the tool 'fails' raised ZeroDivisionError: by zero") as caught:
        await door(nn.Agent("a", model, tools=[waits, fails]), "go")
    assert (caught.value.tool, caught.value.arguments) == ("fails", {"x": 1})
    assert isinstance(caught.value.__cause__, ZeroDivisionError) and cancelled == ["waits"]


# --- what the model got wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (call("add", '{"a": "one"}'), "valid integer"),
        (call("add", '{"b": 1}'), "a: missing"),
        (call("add", '{"a": 1, "c": 2}'), "c: unexpected"),
        (call("add", "{"), "add cannot be called with '{'"),
        (call("add", "[1]"), "add cannot be called with"),
        (call("subtract"), "Error: no tool 'subtract'; there are: add"),
        (call("__init__"), "no tool '__init__'"),
        (call(""), "no tool ''"),
    ],
)
def test_bad_arguments_and_unknown_tools_go_back_to_the_model_as_text(asked, shown):
    agent = nn.Agent("a", ScriptedModel(asked, "sorry"), tools=[add])
    result = agent.run("go")
    assert result.output == "sorry" and shown in result.messages[2].text


def test_a_call_where_there_are_no_tools_goes_back_as_text():
    assert answers(nn.Agent("a", ScriptedModel(call("x"), "ok"))) == {"1": "Error: no tool 'x'; there are: none"}


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two tools are named 'tool'; give one of them another"):
        nn.Agent("a", ScriptedModel("x"), tools=[returning(1), returning(2)])


@pytest.mark.parametrize("name", ["get", "update", "train", "forward", "tools", "items", "name", "model", "self"])
def test_a_tool_may_be_named_like_an_attribute(name):
    agent = nn.Agent("a", ScriptedModel(call(name), "ok"), tools=[nn.Tool(returning(name), name=name)])
    assert answers(agent) == {"1": name} and f"tools.{name}.description" in agent.state_dict()


def test_tools_are_added_replaced_and_removed_like_entries_of_a_dict():
    agent = nn.Agent("a", ScriptedModel.repeat(call("later"), "ok"), tools=[add])
    agent.tools["later"] = returning("a function")
    assert answers(agent) == {"1": "a function"}
    agent.tools["later"] = nn.Agent("later", ScriptedModel("x"))
    assert "task: missing" in answers(agent)["1"]
    del agent.tools["later"]
    assert answers(agent) == {"1": "Error: no tool 'later'; there are: add"}
    with pytest.raises(ValueError, match="the tool 'tool' cannot be kept as 'other'"):
        agent.tools["other"] = nn.Tool(returning(1))


# --- context and cancelling -------------------------------------------------------------------------------------------


async def test_context_variables_flow_into_tools(door):
    who = contextvars.ContextVar("who", default="nobody")

    async def asks():
        return who.get()

    model = ScriptedModel.repeat((call("asks"), call("plain", id="2")), "done")
    agent = nn.Agent("a", model, tools=[asks, nn.Tool(lambda: who.get(), name="plain")])
    who.set("Ada")
    await door(agent, "go")
    assert [message.text for message in model.requests[1].messages[2:]] == ["Ada", "Ada"]


async def test_a_tool_of_any_kind_may_itself_call_a_blocking_module(door):
    inner = nn.Agent("inner", ScriptedModel.repeat("inside"))

    def plain() -> str:
        return inner("x")

    async def native() -> str:
        return inner("x")

    @mf.nonblocking
    def in_place() -> str:
        return inner("x")

    names = ["plain", "native", "in_place"]
    model = ScriptedModel(tuple(call(name, id=name) for name in names), call("plain"), "done")
    await door(nn.Agent("a", model, tools=[plain, native, in_place]), "go")
    assert [m.text for m in model.requests[-1].messages if m.role == "tool"] == ["inside"] * 4


@pytest.mark.parametrize("point", ["model", "async tool", "two async tools", "thread tool", "inner agent", "hook"])
async def test_cancelling_the_call_cancels_what_is_under_it(point):
    begun, cancelled = asyncio.Event(), asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    async def wait_long(*_):
        loop.call_soon_threadsafe(begun.set)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(cancelled.release)
            raise

    class Waits(nn.Module):
        async def aforward(self):
            await wait_long()

    async def native():
        await wait_long()

    waiting = nn.Agent("inner", ScriptedModel.repeat(wait_long))
    script = {
        "model": [wait_long],
        "hook": ["done"],
        "async tool": [call("native")],
        "two async tools": [(call("native"), call("native", id="2"))],
        "thread tool": [call("blocks")],
        "inner agent": [call("inner", '{"task": "x"}')],
    }[point]
    agent = nn.Agent("a", ScriptedModel(*script), tools=[native, nn.Tool(lambda: Waits()(), name="blocks"), waiting])
    if point == "hook":
        agent.register_forward_hook(wait_long)
    task = asyncio.create_task(agent.acall("go"))
    await asyncio.wait_for(begun.wait(), 10)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        for _ in range(2 if point.startswith("two") else 1):
            await cancelled.acquire()


def test_an_agent_that_reaches_itself_through_another_ends_in_an_error_and_not_in_a_crash():
    outer = nn.Agent("outer", ScriptedModel.repeat(call("inner", '{"task": "x"}')))
    outer.tools["inner"] = nn.Agent("inner", ScriptedModel.repeat(call("outer", '{"task": "x"}')), tools=[outer])
    assert len(outer.state_dict()) == 8 and outer.digest()
    with pytest.raises(ToolError) as caught:
        outer("go")
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, RecursionError)
