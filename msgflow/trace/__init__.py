"""Spans of every call, by the OpenTelemetry GenAI convention; free while nobody listens."""

from msgflow.trace.content import captured, request_content, response_content
from msgflow.trace.exporting import Tracing, configure
from msgflow.trace.spans import Recording, current_span, mark_failed, tracer

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
