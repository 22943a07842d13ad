"""Spans around calls, at no cost while nobody listens.

Somebody listens when `configure()` was called, or when the application has set a tracer provider of its own.
OpenTelemetry itself is imported by whoever listens, never by us before.
"""

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from msgflow.trace import names

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

SCOPE = "msgflow"
_RECORDED = "_msgflow_recorded_in"


class _Listener:
    """Whose tracer is in use: the one of `configure()`, else the one of the process-wide provider.

    `own` is the process-wide provider where `configure()` set it; after its shutdown nobody listens to it.
    """

    def __init__(self) -> None:
        self.configured: Tracer | None = None
        self.own: object = None
        self.provider: object = None
        self.tracer: Tracer | None = None

    def follow(self, provider: Any) -> "Tracer":
        self.provider, self.tracer = provider, provider.get_tracer(SCOPE)
        return self.tracer


listener = _Listener()


def tracer() -> "Tracer | None":
    """The tracer of whoever listens, or None. Asked on every call, so it costs about 0.1 us."""
    if listener.configured is not None:
        return listener.configured
    # The public get_tracer_provider() reads the environment and makes proxies; this only looks. A test notices if
    # the attribute is ever renamed.
    provider = getattr(sys.modules.get("opentelemetry.trace"), "_TRACER_PROVIDER", None)
    if provider is None or provider is listener.own:
        return None
    return listener.tracer if provider is listener.provider else listener.follow(provider)


@cache
def _api() -> SimpleNamespace:
    """What is used of OpenTelemetry, looked up once: an import statement costs a microsecond each time."""
    from opentelemetry import context, trace

    return SimpleNamespace(
        attach=context.attach,
        detach=context.detach,
        get_current=context.get_current,
        get_current_span=trace.get_current_span,
        set_span_in_context=trace.set_span_in_context,
        client=trace.SpanKind.CLIENT,
        internal=trace.SpanKind.INTERNAL,
    )


def current_span() -> "Span":
    """The innermost open span; only for code that knows that somebody listens."""
    span: Span = _api().get_current_span()
    return span


class Recording:
    """A span that is current inside its `with` block, and that an exception marks as failed."""

    __slots__ = ("_attributes", "_client", "_name", "_span", "_token", "_tracer")

    def __init__(self, tracer: "Tracer", name: str, attributes: Mapping[str, Any], *, client: bool = False) -> None:
        self._tracer, self._name, self._attributes, self._client = tracer, name, attributes, client

    def __enter__(self) -> "Span":
        api = _api()
        context = api.get_current()
        kind = api.client if self._client else api.internal
        self._span = self._tracer.start_span(self._name, context, kind, self._attributes)
        self._token = api.attach(api.set_span_in_context(self._span, context))
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _api().detach(self._token)
        if error is not None:
            mark_failed(self._span, error)
        self._span.end()


def mark_failed(span: "Span", error: BaseException) -> None:
    """Status ERROR and the error's type; its details as an event, on the innermost span alone."""
    from opentelemetry.trace import Status, StatusCode

    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    span.set_attribute(names.ERROR_TYPE, name)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    # The exception passes through every span around it; the mark it carries says which trace has its details.
    if getattr(error, _RECORDED, None) != span.get_span_context().trace_id:
        with suppress(AttributeError):
            setattr(error, _RECORDED, span.get_span_context().trace_id)
        span.record_exception(error)
