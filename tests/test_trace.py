"""One tree of spans per root call, whoever listens; none, and no OpenTelemetry, while nobody does."""

import asyncio

import pytest
from opentelemetry import trace as api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import msgflow as mf
import msgflow.nn as nn
from msgflow.trace import names
from tests.in_python import run_script


class Plain(nn.Module):
    def forward(self, x):
        return x + 1


class Suspends(nn.Module):
    async def aforward(self, x):
        await asyncio.sleep(0)
        return x + 1


class InThread(nn.Module):
    blocking = True

    def __init__(self):
        super().__init__()
        self.inner = Suspends()

    def forward(self, x):
        return self.inner(x)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = [Plain(), Suspends(), InThread()]
        self.prompt = nn.Parameter("Be kind")

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


class Fails(nn.Module):
    async def aforward(self, _):
        await asyncio.sleep(0)
        raise ZeroDivisionError("the innermost")


def tree(spans):
    """Each span's name with its parent's."""
    known = {span.context.span_id: span.name for span in spans}
    return {(span.name, known.get(span.parent.span_id) if span.parent else None) for span in spans}


FLOW_TREE = {
    ("invoke_workflow Flow", None),
    ("Plain", "invoke_workflow Flow"),
    ("Suspends", "invoke_workflow Flow"),
    ("InThread", "invoke_workflow Flow"),
    ("Suspends", "InThread"),
}


async def test_a_root_call_is_one_tree_through_greenlets_threads_and_doors(tracing):
    assert await Flow().acall(0) == 3
    assert tree(tracing.spans) == FLOW_TREE and len({span.context.trace_id for span in tracing.spans}) == 1


async def test_a_root_call_in_plain_code_is_the_same_tree(tracing):
    assert await asyncio.to_thread(Flow(), 0) == 3
    assert tree(tracing.spans) == FLOW_TREE and len(tracing.spans) == 5


async def test_the_root_carries_the_workflows_name_and_the_digest_of_its_state(tracing):
    flow = Flow()
    digest = flow.digest()
    await flow.acall(0)
    root = tracing.spans[-1]
    assert dict(root.attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "Flow",
        "msgflow.module": "Flow",
        "msgflow.state.digest": digest,
    }
    assert dict(tracing.spans[0].attributes) == {"msgflow.module": "Plain"}


async def test_a_root_with_an_operation_of_its_own_keeps_it(tracing):
    class Asks(Plain):
        def _span_start(self):
            return "invoke_agent", "helper", {names.OPERATION: "invoke_agent", names.AGENT_NAME: "helper"}

    await nn.Sequential(Asks()).acall(0)
    await Asks().acall(0)
    inner, _, root = tracing.spans
    assert inner.name == root.name == "invoke_agent helper" and names.WORKFLOW_NAME not in root.attributes
    assert names.STATE_DIGEST in root.attributes and names.STATE_DIGEST not in inner.attributes


async def test_two_calls_at_once_are_two_trees(tracing):
    flow = Flow()
    await asyncio.gather(*(flow.acall(0) for _ in range(10)))
    by_trace = {}
    for span in tracing.spans:
        by_trace.setdefault(span.context.trace_id, []).append(span)
    assert len(by_trace) == 10 and all(tree(spans) == FLOW_TREE for spans in by_trace.values())


async def test_a_call_inside_the_applications_own_active_span_becomes_its_child(tracing):
    own = tracing._provider.get_tracer("application")
    with own.start_as_current_span("GET /answer"):
        await Plain().acall(0)
        await asyncio.to_thread(Suspends(), 0)
    assert tree(tracing.spans) == {
        ("GET /answer", None),
        ("invoke_workflow Plain", "GET /answer"),
        ("invoke_workflow Suspends", "GET /answer"),
    }


async def test_a_span_that_a_forward_opens_itself_is_in_the_tree(tracing):
    class Opens(nn.Module):
        def forward(self):
            with api.get_tracer("application").start_as_current_span("own"):
                return Suspends()(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_TRACER_PROVIDER", tracing._provider)
        await Opens().acall()
    assert {("Suspends", "own"), ("own", "invoke_workflow Opens")} <= tree(tracing.spans)


async def test_an_error_marks_every_span_it_passes_and_its_details_are_on_the_innermost(door, tracing):
    with pytest.raises(ZeroDivisionError):
        await door(nn.Sequential(Fails()), 1)
    failed = tracing.spans
    assert {span.status.status_code for span in failed} == {api.StatusCode.ERROR}
    assert {(span.status.description, span.attributes[names.ERROR_TYPE]) for span in failed} == {
        ("the innermost", "ZeroDivisionError")
    }
    assert [len(span.events) for span in failed] == [1] + [0] * (len(failed) - 1)
    event = failed[0].events[0]
    assert failed[0].name == "Fails" and event.name == "exception"
    assert event.attributes["exception.message"] == "the innermost" and "aforward" in str(event.attributes)


async def test_an_error_that_is_raised_again_in_another_trace_has_its_details_there_too(tracing):
    error = mf.errors.BridgeError("kept")

    class Raises(nn.Module):
        def forward(self):
            raise error

    for _ in range(2):
        with pytest.raises(mf.errors.BridgeError):
            await Raises().acall()
    assert [len(span.events) for span in tracing.spans] == [1, 1]
    assert tracing.spans[0].attributes[names.ERROR_TYPE] == "msgflow.errors.BridgeError"


async def test_an_error_that_takes_no_attributes_is_recorded(tracing):
    class Rigid(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    class Raises(nn.Module):
        def forward(self):
            raise Rigid

    with pytest.raises(Rigid):
        await Raises().acall()
    assert len(tracing.spans[0].events) == 1


async def test_a_cancelled_call_is_a_failed_span(tracing):
    class Slow(nn.Module):
        async def aforward(self):
            await asyncio.sleep(30)

    task = asyncio.create_task(Slow().acall())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tracing.spans[0].attributes[names.ERROR_TYPE] == "asyncio.exceptions.CancelledError"


async def test_hooks_run_inside_the_span(door, tracing):
    seen = []
    module = Plain()
    module.register_forward_pre_hook(lambda *_: seen.append(mf.trace.current_span().name))
    module.register_forward_hook(lambda *_: mf.trace.current_span().set_attribute("from.hook", 7))
    await door(module, 0)
    span = next(span for span in tracing.spans if "Plain" in span.name)
    assert seen == [span.name] and span.attributes["from.hook"] == 7


async def test_after_a_call_nothing_of_it_is_current(door, tracing):
    for _ in range(2):
        await door(Plain(), 0)
        assert not mf.trace.current_span().get_span_context().is_valid
    assert len([span for span in tracing.spans if span.parent is None]) == 2


# --- whoever listens -----------------------------------------------------------------------------------------------


def test_the_private_name_that_the_quick_look_needs_is_there():
    """`trace.tracer()` looks at it; if a release renames it, applications' own providers would be overlooked."""
    assert hasattr(api, "_TRACER_PROVIDER")


async def test_the_process_wide_provider_is_followed_when_it_is_not_ours(monkeypatch):
    memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(api, "_TRACER_PROVIDER", provider)
    await Plain().acall(0)
    assert mf.trace.tracer() is mf.trace.tracer()
    monkeypatch.setattr(api, "_TRACER_PROVIDER", None)
    await Plain().acall(0)
    assert [span.name for span in memory.get_finished_spans()] == ["invoke_workflow Plain"]


async def test_after_its_shutdown_nobody_listens():
    with mf.trace.configure("memory") as tracing:
        await Plain().acall(0)
    assert mf.trace.tracer() is None
    await Plain().acall(0)
    assert len(tracing.spans) <= 1


def test_without_a_listener_opentelemetry_is_not_even_imported():
    script = """
        import sys
        import msgflow.nn as nn
        import msgflow.trace
        class Plain(nn.Module):
            def forward(self):
                return 1
        Plain()()
        print(any(name.startswith("opentelemetry") for name in sys.modules))
    """
    assert run_script(script) == "False"


def test_an_applications_own_provider_is_followed_without_configure():
    script = """
        from opentelemetry import trace
        import msgflow as mf, msgflow.nn as nn
        class Plain(nn.Module):
            def forward(self):
                return 1
        Plain()()
        print(mf.trace.tracer())
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        memory, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        trace.set_tracer_provider(provider)
        Plain()()
        with trace.get_tracer("application").start_as_current_span("own"):
            Plain()()
        print([(span.name, span.parent is not None) for span in memory.get_finished_spans()])
        with mf.trace.configure("memory") as tracing:
            Plain()()
            print(len(tracing.spans), len(memory.get_finished_spans()), trace.get_tracer_provider() is provider)
        Plain()()
        print(len(tracing.spans), len(memory.get_finished_spans()))
    """
    assert run_script(script).split("\n") == [
        "None",
        "[('invoke_workflow Plain', False), ('invoke_workflow Plain', True), ('own', False)]",
        "1 3 True",
        "1 4",
    ]


def test_configure_sets_the_process_wide_provider_where_there_is_none():
    script = """
        import msgflow as mf, msgflow.nn as nn
        from opentelemetry import trace
        class Opens(nn.Module):
            def forward(self):
                with trace.get_tracer("library").start_as_current_span("from a library"):
                    return 1
        with mf.trace.configure("memory") as tracing:
            Opens()()
            print([span.name for span in tracing.spans])
    """
    assert run_script(script) == "['from a library', 'invoke_workflow Opens']"
