"""The spans of agents, tools, models and retrievers: one tree, by the OpenTelemetry GenAI convention."""

import asyncio
import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import msgflow as mf
import msgflow.nn as nn
from msgflow.data import BM25, Document
from msgflow.errors import MaxTurnsError, ModelOverloaded, ToolError
from msgflow.messages import Response, ToolCall, Usage, assistant
from msgflow.models import ScriptedModel
from msgflow.nn.prompt import prompt_version
from tests.tool_calls import add, call

ASKED = ToolCall("call-1", "add", '{"a": 2, "b": 3}')


class Answers(nn.Module):
    def __init__(self, agent):
        super().__init__()
        self.retriever = nn.Retriever(BM25([Document("a.md#x", "two and three")]), top_k=2, name="docs")
        self.agent = agent

    def forward(self, question):
        hits = self.retriever(question)
        return self.agent(f"{hits[0].text}: {question}")


def adder(*script, **options):
    return nn.Agent("adder", ScriptedModel(*script), "Add.", tools=[add], description="Adds numbers.", **options)


def answered(text="5", **options):
    return Response(assistant(text), Usage(20, 3, 8, 2), "stop", "scripted-2026", "r-2", **options)


def asked():
    return Response(assistant("", ASKED), Usage(10, 2), "tool_call", "scripted-2026", "r-1")


def paths(spans):
    """Each span as the names from the root down to it, in the order of their starts."""
    known = {span.context.span_id: span for span in spans}

    def path(span):
        return (*(path(known[span.parent.span_id]) if span.parent else ()), span.name)

    return [path(span) for span in sorted(spans, key=lambda span: span.start_time)]


def span_of(tracing, name):
    return next(span for span in tracing.spans if span.name == name)


def failures(tracing):
    return {span.name: span.attributes["error.type"] for span in tracing.spans if "error.type" in span.attributes}


async def test_a_workflow_is_one_tree_through_every_door(door, tracing):
    await door(Answers(adder(asked(), answered())), "two and three?")
    root, agent = "invoke_workflow Answers", "invoke_agent adder"
    found = paths(tracing.spans)
    start = found.index(next(path for path in found if path[-1] == root or path[-1] == "Answers"))
    outer = found[start][:-1]
    name = found[start][-1]
    assert [path[len(outer) :] for path in found[start:]] == [
        (name,),
        (name, "retrieval docs"),
        (name, agent),
        (name, agent, "chat scripted"),
        (name, agent, "execute_tool add"),
        (name, agent, "chat scripted"),
    ]
    assert len({span.context.trace_id for span in tracing.spans}) == 1


def test_attributes_follow_the_convention(tracing):
    workflow = Answers(adder(asked(), answered(), settings={"temperature": 0.5, "max_tokens": 9, "custom": 1}))
    workflow("two and three?")
    version = prompt_version("Add.")
    prompt = {"gen_ai.prompt.name": "adder.instructions", "gen_ai.prompt.version": version}
    assert dict(span_of(tracing, "invoke_workflow Answers").attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Answers",
        "msgflow.module": "Answers",
        "msgflow.state.digest": workflow.digest(),
    }
    assert dict(span_of(tracing, "retrieval docs").attributes) == {
        "gen_ai.operation.name": "retrieval",
        "gen_ai.data_source.id": "docs",
        "gen_ai.retrieval.top_k": 2,
    }
    assert dict(span_of(tracing, "invoke_agent adder").attributes) == prompt | {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "adder",
        "gen_ai.agent.description": "Adds numbers.",
        "gen_ai.request.model": "scripted",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }
    chat = tracing.spans[-3]
    assert chat.kind is SpanKind.CLIENT and dict(chat.attributes) == prompt | {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "test",
        "gen_ai.request.model": "scripted",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "scripted-2026",
        "gen_ai.response.id": "r-2",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.reasoning.output_tokens": 2,
    }
    assert dict(span_of(tracing, "execute_tool add").attributes) == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "add",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "",
        "gen_ai.tool.call.id": "call-1",
    }


def test_an_agent_alone_is_the_root_with_the_digest_of_its_state(tracing):
    agent = nn.Agent("a", ScriptedModel('{"value": 5}'), output=int)
    agent("go")
    assert paths(tracing.spans) == [("invoke_agent a",), ("invoke_agent a", "chat scripted")]
    assert span_of(tracing, "invoke_agent a").attributes["msgflow.state.digest"] == agent.digest()
    chat = span_of(tracing, "chat scripted")
    assert chat.attributes["gen_ai.output.type"] == "json" and "msgflow.state.digest" not in chat.attributes


def test_prompt_version_and_digest_change_with_the_prompt_and_come_back_with_it(tracing):
    agent, seen = nn.Agent("a", ScriptedModel.repeat("ok"), "one"), []
    for wording in ("one", "two", "one"):
        agent.instructions = wording
        agent("go")
        root = tracing.spans[-1].attributes
        assert tracing.spans[-2].attributes["gen_ai.prompt.version"] == root["gen_ai.prompt.version"]
        seen.append((root["gen_ai.prompt.version"], root["msgflow.state.digest"]))
    assert seen[0] == seen[2] != seen[1] and seen[0][1] != seen[1][1]


def test_the_prompt_version_is_of_the_wording_and_not_of_what_was_filled_in(tracing):
    agent = nn.Agent("a", ScriptedModel.repeat("ok"), "Greet {{ name }}.")
    agent("go", vars={"name": "Ada"})
    agent("go", vars={"name": "Bob"})
    assert len({span.attributes["gen_ai.prompt.version"] for span in tracing.spans}) == 1


def test_what_the_server_did_not_report_is_not_on_the_span(tracing):
    nn.Agent("a", ScriptedModel(Response(assistant("ok"))))("go")
    attributes = tracing.spans[0].attributes
    assert not {key for key in attributes if key.startswith("gen_ai.response.")} - {"gen_ai.response.finish_reasons"}
    assert attributes["gen_ai.usage.input_tokens"] == 0 and "gen_ai.usage.cache_read.input_tokens" not in attributes


def test_a_call_whose_trace_is_not_sampled_is_just_answered(monkeypatch):
    unsampled = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    monkeypatch.setattr(mf.trace.spans.listener, "configured", unsampled)
    assert Answers(adder(asked(), answered()))("two and three?") == "5"


# --- failures --------------------------------------------------------------------------------------------------------


async def test_a_tool_that_raises_marks_its_span_and_those_around_it(door, tracing):
    def breaks():
        raise ZeroDivisionError("x")

    with pytest.raises(ToolError):
        await door(nn.Agent("a", ScriptedModel(call("breaks")), tools=[breaks]), "go")
    failed = failures(tracing)
    assert failed["execute_tool breaks"] == failed["invoke_agent a"] == "msgflow.errors.ToolError"
    assert "chat scripted" not in failed
    span = span_of(tracing, "execute_tool breaks")
    assert span.status.status_code is StatusCode.ERROR and span.attributes["gen_ai.tool.call.id"] == "1"


def test_refused_arguments_mark_the_tools_span_alone(tracing):
    adder(call("add", '{"a": "x"}', id="c"), "sorry")("go")
    assert failures(tracing) == {"execute_tool add": "msgflow.errors.ToolArgumentsError"}
    assert span_of(tracing, "execute_tool add").attributes["gen_ai.tool.call.id"] == "c"


def test_a_model_that_fails_marks_chat_and_agent(tracing):
    with pytest.raises(ModelOverloaded):
        adder(ModelOverloaded("busy", status=503))("go")
    assert failures(tracing) == dict.fromkeys(["chat scripted", "invoke_agent adder"], "msgflow.errors.ModelOverloaded")


def test_a_run_that_fails_has_its_tokens_all_the_same(tracing):
    with pytest.raises(MaxTurnsError):
        adder(asked(), asked(), max_turns=2)("go")
    assert span_of(tracing, "invoke_agent adder").attributes["gen_ai.usage.input_tokens"] == 20


async def test_a_cancelled_call_ends_all_of_its_spans(tracing):
    begun = asyncio.Event()

    async def waits():
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(nn.Agent("a", ScriptedModel(call("waits")), tools=[waits]).acall("go"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(failures(tracing)) == {"execute_tool waits", "invoke_agent a"}


# --- content ---------------------------------------------------------------------------------------------------------

CONTENT = [
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents",
]


def recorded(tracing):
    return {key: value for span in tracing.spans for key, value in span.attributes.items() if key in CONTENT}


def test_content_is_recorded_only_where_it_was_asked_for(monkeypatch):
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    for content in (None, False):
        with mf.trace.configure(exporter="memory", content=content) as tracing:
            Answers(adder(asked(), answered()))("two and three?")
            assert recorded(tracing) == {}
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    with mf.trace.configure(exporter="memory") as tracing:
        Answers(adder(asked(), answered()))("two and three?")
        content = recorded(tracing)
    assert sorted(content) == sorted(CONTENT)
    assert content["gen_ai.tool.call.arguments"] == ASKED.arguments and content["gen_ai.tool.call.result"] == "5"
    assert content["gen_ai.retrieval.query.text"] == "two and three?"
    (document,) = json.loads(content["gen_ai.retrieval.documents"])
    assert document["id"] == "a.md#x" and document["score"] > 0
    assert json.loads(content["gen_ai.system_instructions"]) == [{"type": "text", "content": "Add."}]
    assert json.loads(content["gen_ai.tool.definitions"])[0]["name"] == "add"
    (answer,) = json.loads(content["gen_ai.output.messages"])
    assert answer["finish_reason"] == "stop" and answer["parts"] == [{"type": "text", "content": "5"}]
    assert [message["role"] for message in json.loads(content["gen_ai.input.messages"])] == [
        "user",
        "assistant",
        "tool",
    ]
