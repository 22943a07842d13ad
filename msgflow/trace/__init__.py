"""Spans of every call, by the OpenTelemetry GenAI convention; free while nobody listens."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.trace.content import captured, request_content, response_content
from msgflow.trace.spans import Recording, current_span, mark_failed, tracer

if TYPE_CHECKING:
    from msgflow.trace.exporting import Tracing, configure

__all__ = [
    "Recording",
    "Tracing",
    "captured",
    "configure",
    "current_span",
    "mark_failed",
    "request_content",
    "response_content",
    "tracer",
]

__getattr__ = _lazily(__name__, {"Tracing": "exporting", "configure": "exporting"})


def __dir__() -> list[str]:
    return list(__all__)
