"""An agent's stream: the same events through every way of reading, and an end whenever the reader leaves."""

import asyncio
import threading

import pytest

import msgflow.nn as nn
from msgflow.errors import MaxTurnsError, ModelOverloaded, OutputError, ToolError
from msgflow.messages import Finished, Response, TextDelta, ToolFinished, ToolStarted, Usage, assistant
from msgflow.models import ScriptedModel
from tests.tool_calls import add, call


class Reads(nn.Module):
    """Reads a stream to its end with a plain `for`."""

    def __init__(self, agent):
        super().__init__()
        self.agent = agent

    def forward(self, task):
        return list(self.agent.stream(task))


async def by_for(agent, task):
    return await asyncio.to_thread(lambda: list(agent.stream(task)))


async def by_async_for(agent, task):
    return [event async for event in agent.stream(task)]


async def inside_a_forward(agent, task):
    return await Reads(agent).acall(task)


@pytest.fixture(params=[by_for, by_async_for, inside_a_forward])
def read(request):
    return request.param


def adder(*script):
    return nn.Agent("a", ScriptedModel(*script), "Add.", tools=[add])


async def test_events_come_in_order_and_the_result_is_the_last(read):
    asked = call("add", '{"a": 2, "b": 3}')
    *events, result = await read(adder(asked, "It is 5"), "2 + 3?")
    assert events == [ToolStarted(asked), ToolFinished(asked, "5"), TextDelta("It"), TextDelta(" is"), TextDelta(" 5")]
    assert (result.output, result.turns) == ("It is 5", 2)
    assert result == adder(asked, "It is 5").run("2 + 3?")


async def test_each_of_several_tools_starts_before_it_finishes(read):
    calls = tuple(call("add", f'{{"a": {n}}}', id=str(n)) for n in range(5))
    events = await read(adder(calls, "done"), "go")
    for asked in calls:
        assert events.index(ToolStarted(asked)) < events.index(ToolFinished(asked, asked.id))
    assert len(events) == 2 * 5 + 2


async def test_a_call_that_goes_back_to_the_model_is_an_event_as_well(read):
    _, finished, *_ = await read(adder(call("add", "{}"), "sorry"), "go")
    assert "a: missing" in finished.text


@pytest.mark.parametrize(
    ("error", "script"),
    [
        (ModelOverloaded, [call("add", '{"a": 1}'), ModelOverloaded("busy", status=503)]),
        (ToolError, [call("add", '{"a": 1e400}'), call("breaks")]),
        (MaxTurnsError, [call("add", '{"a": 1}')] * 3),
        (OutputError, ["no", "no"]),
    ],
)
async def test_an_error_in_the_middle_reaches_the_reader(read, error, script):
    def breaks() -> None:
        raise KeyError("x")

    output = int if error is OutputError else str
    agent = nn.Agent("a", ScriptedModel(*script), tools=[add, breaks], max_turns=3, output=output)
    with pytest.raises(error):
        await read(agent, "go")


def test_events_before_an_error_are_delivered():
    agent = adder(call("add", '{"a": 1}'), TimeoutError("slow"))
    events = iter(agent.stream("go"))
    assert [type(next(events)) for _ in range(2)] == [ToolStarted, ToolFinished]
    with pytest.raises(TimeoutError, match="slow"):
        next(events)


async def test_leaving_early_cancels_the_model_call():
    closed = asyncio.Event()

    class Endless(ScriptedModel):
        async def stream(self, request):
            try:
                while True:
                    yield TextDelta("more ")
            finally:
                closed.set()

    async for event in nn.Agent("a", Endless("x")).stream("go"):
        assert event == TextDelta("more ")
        break
    await asyncio.wait_for(closed.wait(), 10)


@pytest.fixture
def left():
    """Set when the tool that is still running is cancelled."""
    return threading.Event()


@pytest.fixture
def busy(left):
    """One tool that ends as soon as the other one, which never does, has begun."""
    begun = threading.Event()

    async def slow():
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    def quick():
        begun.wait(10)

    return nn.Agent("a", ScriptedModel((call("slow", id="1"), call("quick", id="2"))), tools=[slow, quick])


async def test_leaving_early_cancels_running_tools(busy, left):
    async for event in busy.stream("go"):
        if isinstance(event, ToolFinished):
            break
    assert await asyncio.to_thread(left.wait, 10)


def test_leaving_a_plain_loop_early_cancels_too(busy, left):
    for event in busy.stream("go"):
        if isinstance(event, ToolFinished):
            break
    assert left.wait(10)


async def test_closing_a_stream_that_is_being_read_cancels_and_waits(busy, left):
    stream = busy.stream("go")
    reader = aiter(stream)
    while not isinstance(await anext(reader), ToolFinished):
        pass
    await stream.aclose()
    assert left.is_set()


def test_nothing_is_asked_before_the_first_event_is():
    model = ScriptedModel("x")
    nn.Agent("a", model).stream("go")
    assert model.requests == []


def test_the_response_that_ends_a_models_stream_is_the_last_that_is_read_of_it():
    class Plain(ScriptedModel):
        async def stream(self, request):
            yield TextDelta("hi")
            yield "an event of a kind that came later"
            yield Finished(Response(assistant("hi"), Usage(1, 1)))
            raise AssertionError("nobody reads on after Finished")

    first, result = nn.Agent("a", Plain("x")).stream("go")
    assert first == TextDelta("hi") and (result.output, result.usage) == ("hi", Usage(1, 1))


async def test_many_streams_at_once_do_not_mix():
    async def echo(request):
        await asyncio.sleep(0)
        return request.messages[-1].text

    agent = nn.Agent("a", ScriptedModel.repeat(echo))
    results = await asyncio.gather(*(by_async_for(agent, f"task {n}") for n in range(50)))
    assert [events[-1].output for events in results] == [f"task {n}" for n in range(50)]


async def test_the_span_tree_of_a_stream_is_that_of_a_call(read, tracing):
    await read(adder(call("add", '{"a": 1}'), "done"), "go")
    spans = {span.name: span for span in tracing.spans if span.name != "invoke_workflow Reads"}
    assert sorted(span.name for span in tracing.spans if "invoke_workflow" not in span.name) == [
        "chat scripted",
        "chat scripted",
        "execute_tool add",
        "invoke_agent a",
    ]
    agent = spans["invoke_agent a"]
    assert {spans[name].parent.span_id for name in ("chat scripted", "execute_tool add")} == {agent.context.span_id}
    assert spans["chat scripted"].attributes["gen_ai.request.stream"] is True
    assert len({span.context.trace_id for span in tracing.spans}) == 1
