"""`configure`: where spans go."""

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, Self, TextIO

from msgflow.trace.console import TreePrinter, draw
from msgflow.trace.content import choice
from msgflow.trace.spans import SCOPE, listener

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

_log = logging.getLogger(__name__)
Destination = Literal["console", "memory", "otlp"]


class Tracing:
    """A running configuration; `shutdown()`, or leaving its `with` block, sends what is left and ends it."""

    def __init__(self, provider: "TracerProvider", memory: Any) -> None:
        self._provider, self._memory = provider, memory

    @property
    def spans(self) -> "tuple[ReadableSpan, ...]":
        """Finished spans in the order of their ends; only `exporter="memory"` keeps them."""
        if self._memory is None:
            raise ValueError('only configure(exporter="memory") keeps spans to look at')
        return tuple(self._memory.get_finished_spans())

    def draw(self) -> str:
        """The kept spans as trees."""
        return draw(self.spans)

    def clear(self) -> None:
        """Forget the kept spans."""
        if self._memory is not None:
            self._memory.clear()

    def flush(self) -> None:
        """Send what is waiting to be sent."""
        self._provider.force_flush()

    def shutdown(self) -> None:
        if listener.configured is not None and _current[0] is self:
            listener.configured, choice.configured, _current[0] = None, None, None
        self._provider.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()


_current: list[Tracing | None] = [None]


def configure(
    exporter: "Destination | SpanExporter" = "console",
    *,
    service_name: str = "msgflow",
    endpoint: str | None = None,
    headers: dict[str, str] | None = None,
    content: bool | None = None,
    out: TextIO | None = None,
) -> Tracing:
    """Send the spans of all calls from now on to one place; a second call replaces the first.

    `exporter` is "console" (a tree per root call, on `out` or stderr), "memory" (for tests: `.spans`), "otlp" (over
    HTTP to `endpoint`, or where the OTEL_EXPORTER_OTLP_* variables say), or any OpenTelemetry SpanExporter.
    `content` says whether messages are recorded; None leaves it to the convention's variable, whose default is no.

    An application that sets up OpenTelemetry itself need not call this: its provider is used as it is.
    """
    from opentelemetry import trace as api
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    processor, memory = _processor(exporter, endpoint, headers, out or sys.stderr)
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(processor)
    if _current[0] is not None:
        _current[0].shutdown()
    elif getattr(api, "_TRACER_PROVIDER", None) is None:
        # Other instrumented libraries join our traces through the process-wide provider.
        api.set_tracer_provider(provider)
        listener.own = provider
    tracing = _current[0] = Tracing(provider, memory)
    listener.configured, choice.configured = provider.get_tracer(SCOPE), content
    return tracing


def _processor(
    exporter: Any, endpoint: str | None, headers: dict[str, str] | None, out: TextIO
) -> "tuple[SpanProcessor, Any]":
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    if exporter == "memory":
        memory = InMemorySpanExporter()
        return SimpleSpanProcessor(memory), memory
    if exporter == "console":
        return _console_processor(TreePrinter(out)), None
    if exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, headers=headers)), None
    if hasattr(exporter, "export"):
        return BatchSpanProcessor(exporter), None
    raise ValueError(f'exporter is "console", "memory", "otlp" or a SpanExporter, not {exporter!r}')


def _console_processor(printer: TreePrinter) -> "SpanProcessor":
    from opentelemetry.sdk.trace import SpanProcessor

    class ConsoleProcessor(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            printer.started(span.context.span_id)

        def on_end(self, span: "ReadableSpan") -> None:
            try:
                printer.ended(span)
            except (OSError, ValueError):  # a closed file, or one that cannot encode a name: no reason to fail a call
                _log.exception("a trace could not be printed")

    return ConsoleProcessor()
