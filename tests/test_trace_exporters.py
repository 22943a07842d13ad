"""`configure`: where spans go, how the console draws them, and what of the conversation is on them."""

import asyncio
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

import msgflow as mf
import msgflow.nn as nn
from msgflow import messages
from msgflow.trace import content, names
from msgflow.trace.console import TreePrinter, draw, duration
from tests.in_python import run_script


class Plain(nn.Module):
    def forward(self, x):
        return x


class Fails(nn.Module):
    def forward(self, x):
        raise ValueError("no")


class Collects:
    """A SpanExporter of the user's own."""

    def __init__(self):
        self.names, self.shut_down = [], False

    def export(self, spans):
        self.names += [span.name for span in spans]

    def shutdown(self):
        self.shut_down = True

    def force_flush(self, timeout_millis=0):
        return True


# --- destinations --------------------------------------------------------------------------------------------------


def test_memory_keeps_the_finished_spans_until_they_are_cleared():
    with mf.trace.configure("memory") as tracing:
        Plain()(1)
        assert [span.name for span in tracing.spans] == ["invoke_workflow Plain"]
        assert "invoke_workflow Plain" in tracing.draw()
        tracing.clear()
        assert tracing.spans == () and tracing.draw() == ""


def test_an_exporter_of_ones_own_gets_the_spans():
    mine = Collects()
    with mf.trace.configure(mine) as tracing:
        Plain()(1)
        tracing.flush()
        assert mine.names == ["invoke_workflow Plain"]
        tracing.clear()
        with pytest.raises(ValueError, match=r'only configure\(exporter="memory"\) keeps spans'):
            _ = tracing.spans
    assert mine.shut_down


@pytest.mark.parametrize("wrong", ["file", "", None, 3])
def test_any_other_exporter_is_refused_and_the_configuration_stays(wrong):
    with mf.trace.configure("memory") as tracing:
        with pytest.raises(ValueError, match='exporter is "console", "memory", "otlp" or a SpanExporter, not'):
            mf.trace.configure(wrong)
        Plain()(1)
        assert len(tracing.spans) == 1


def test_configuring_again_replaces_and_the_first_ones_shutdown_then_ends_nothing():
    first = mf.trace.configure("memory", content=True)
    with mf.trace.configure("memory") as second:
        Plain()(1)
        first.shutdown()
        Plain()(1)
        assert len(second.spans) == 2 and not first.spans and not mf.trace.captured()


def test_otlp_sends_protobuf_over_http():
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["x-team"], ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with mf.trace.configure("otlp", endpoint=endpoint, headers={"x-team": "docs"}, service_name="answers"):
            nn.Sequential(Plain())(1)
        server.shutdown()
        thread.join()
    ((path, team, request),) = received
    (resource,) = request.resource_spans
    spans = resource.scope_spans[0].spans
    service = {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"]
    assert (path, team, service, resource.scope_spans[0].scope.name) == ("/v1/traces", "docs", "answers", "msgflow")
    assert [span.name for span in spans] == ["Plain", "invoke_workflow Sequential"]
    assert spans[0].parent_span_id == spans[1].span_id and spans[0].trace_id == spans[1].trace_id


# --- the console ---------------------------------------------------------------------------------------------------


def masked(text):
    return re.sub(r" +\d+(\.\d+)? (s|ms|us)", " TIME", re.sub(r"state [0-9a-f]{16}", "state DIGEST", text))


async def test_the_console_draws_each_trace_when_its_root_has_ended():
    out = io.StringIO()
    with mf.trace.configure("console", out=out):
        flow = nn.Sequential(nn.Sequential(Plain(), Plain()), Plain())
        await flow.acall(1)
        with pytest.raises(ValueError, match="no"):
            await nn.Sequential(Fails()).acall(1)
    assert masked(out.getvalue()) == (
        "invoke_workflow Sequential TIME  state DIGEST\n"
        "├─ Sequential TIME\n"
        "│  ├─ Plain TIME\n"
        "│  └─ Plain TIME\n"
        "└─ Plain TIME\n"
        "invoke_workflow Sequential TIME  state DIGEST  FAILED ValueError\n"
        "└─ Fails TIME  FAILED ValueError\n"
    )


def test_the_console_is_the_default_and_writes_to_stderr(capsys):
    with mf.trace.configure():
        Plain()(1)
    assert "invoke_workflow Plain" in capsys.readouterr().err


async def test_calls_inside_the_applications_own_span_are_drawn_as_they_end():
    out = io.StringIO()
    with mf.trace.configure("console", out=out) as tracing:
        with tracing._provider.get_tracer("application").start_as_current_span("GET /"):
            Plain()(1)
            assert out.getvalue() == ""
        assert masked(out.getvalue()) == "GET / TIME\n└─ invoke_workflow Plain TIME  state DIGEST\n"


async def test_what_outlives_its_root_is_drawn_when_it_ends():
    out, release, late = io.StringIO(), asyncio.Event(), []

    class Waits(nn.Module):
        async def aforward(self):
            await release.wait()

    class Leaves(nn.Module):
        async def aforward(self):
            late.append(asyncio.create_task(Waits().acall()))
            await asyncio.sleep(0)

    with mf.trace.configure("console", out=out):
        await Leaves().acall()
        release.set()
        await late[0]
    assert masked(out.getvalue()) == "invoke_workflow Leaves TIME  state DIGEST\nWaits TIME\n"


def test_tokens_are_shown_where_a_span_has_them():
    span = fake_span(1, None, {names.INPUT_TOKENS: 231, names.OUTPUT_TOKENS: 24})
    assert masked(draw([span])) == "span 1 TIME  231 -> 24 tokens"


def fake_span(number, parent, attributes=None):
    return SimpleNamespace(
        name=f"span {number}",
        context=SimpleNamespace(span_id=number, trace_id=1),
        parent=None if parent is None else SimpleNamespace(span_id=parent),
        attributes=attributes,
        start_time=number,
        end_time=number + 5,
    )


def test_a_tree_deeper_than_the_recursion_limit_is_drawn():
    spans = [fake_span(number, number - 1 if number > 1 else None) for number in range(1, 3001)]
    lines = draw(spans).split("\n")
    assert len(lines) == 3000 and lines[2999].lstrip().startswith("└─ span 3000")


def test_durations_are_shown_in_the_unit_that_reads_best():
    assert [duration(s) for s in (12.345, 0.0123, 0.0000456)] == [" 12.35 s", " 12.3 ms", "   46 us"]


@pytest.mark.parametrize("broken", ["closed", "ascii"])
def test_a_place_that_cannot_be_written_to_fails_no_call(broken, caplog):
    out = io.StringIO() if broken == "closed" else io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    if broken == "closed":
        out.close()
    with mf.trace.configure("console", out=out):
        assert nn.Sequential(Plain())(1) == 1
    assert "a trace could not be printed" in caplog.text


def test_a_printer_keeps_nothing_of_the_traces_that_it_has_drawn():
    printer = TreePrinter(io.StringIO())
    for number in (1, 2):
        printer.started(number)
    for span in (fake_span(2, 1), fake_span(1, None)):
        printer.ended(span)
    assert not printer._open and not printer._ended


def test_tracing_that_is_never_shut_down_ends_with_the_process_and_sends_what_is_left():
    script = """
        import sys
        import msgflow as mf, msgflow.nn as nn
        class Plain(nn.Module):
            def forward(self):
                return 1
        class Prints:
            def export(self, spans):
                print([span.name for span in spans], flush=True)
            def shutdown(self):
                print("shut down", flush=True)
        mf.trace.configure(Prints())
        Plain()()
    """
    assert run_script(script) == "['invoke_workflow Plain']\nshut down"


# --- content -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("SPAN_ONLY", True),
        ("span_and_event", True),
        ("true", True),
        ("NO_CONTENT", False),
        ("EVENT_ONLY", False),
        ("", False),
    ],
)
def test_the_conventions_variable_says_whether_content_is_recorded(monkeypatch, value, wanted):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    assert mf.trace.captured() is wanted


def test_content_is_not_recorded_unless_asked_for(monkeypatch):
    monkeypatch.delenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", raising=False)
    assert mf.trace.captured() is False


@pytest.mark.parametrize("choice", [True, False])
def test_configure_overrules_the_variable_until_its_shutdown(monkeypatch, choice):
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "NO_CONTENT" if choice else "SPAN_ONLY")
    with mf.trace.configure("memory", content=choice):
        assert mf.trace.captured() is choice
    assert mf.trace.captured() is not choice


def test_a_request_is_recorded_in_the_conventions_json():
    call = messages.ToolCall("c1", "add", '{"a": 1}')
    request = messages.Request(
        (
            messages.system("Be kind"),
            messages.user(
                (
                    messages.TextPart("look"),
                    messages.ImagePart("data:image/png;base64,AAAA"),
                    messages.ImagePart("https://x/y"),
                )
            ),
            messages.assistant("", call),
            messages.tool_answer(call, "3"),
        ),
        tools=(messages.ToolSpec("add", "Adds", messages.freeze({"type": "object"})),),
    )
    recorded = {name: json.loads(text) for name, text in content.request_content(request).items()}
    assert recorded == {
        names.SYSTEM_INSTRUCTIONS: [{"type": "text", "content": "Be kind"}],
        names.INPUT_MESSAGES: [
            {
                "role": "user",
                "parts": [
                    {"type": "text", "content": "look"},
                    {"type": "uri", "modality": "image", "uri": "data:image/png;base64"},
                    {"type": "uri", "modality": "image", "uri": "https://x/y"},
                ],
            },
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "add", "arguments": '{"a": 1}'}]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "3"}]},
        ],
        names.TOOL_DEFINITIONS: [
            {"type": "function", "name": "add", "description": "Adds", "parameters": {"type": "object"}}
        ],
    }


def test_a_request_without_instructions_or_tools_has_neither_on_its_span():
    assert list(content.request_content(messages.Request((messages.user("hi"),)))) == [names.INPUT_MESSAGES]


def test_a_response_is_recorded_with_its_finish_reason():
    response = messages.Response(messages.assistant("hello"), finish_reason="length")
    assert json.loads(content.response_content(response)[names.OUTPUT_MESSAGES]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "hello"}], "finish_reason": "length"}
    ]


def test_a_name_cannot_send_commands_to_the_terminal(tracing):
    class Step(nn.Module):
        def _span_start(self):
            return "", "evil\x1b[2Jname\n", {}

        def forward(self):
            return 1

    Step()()
    assert "invoke_workflow evil�[2Jname� " in tracing.draw()
