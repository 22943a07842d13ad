"""The span of a module's call: one tree per root call."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from msgflow.nn.hooks import run_with_hooks
from msgflow.trace import Recording, names

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from msgflow.nn.module import Module

_inside: ContextVar[bool] = ContextVar("msgflow_inside", default=False)


def record_call(
    tracer: "Tracer", module: "Module", run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a module, hooks and all, inside its span; the root's span carries the digest of the whole state."""
    operation, subject, attributes = module._span_start()
    if _inside.get():
        with Recording(tracer, f"{operation} {subject}".strip(), attributes):
            return run_with_hooks(module, run, args, kwargs)
    if not operation:
        operation = attributes[names.OPERATION] = "invoke_workflow"
        attributes[names.WORKFLOW_NAME] = subject
    attributes[names.STATE_DIGEST] = module.digest()
    token = _inside.set(True)
    try:
        with Recording(tracer, f"{operation} {subject}", attributes):
            return run_with_hooks(module, run, args, kwargs)
    finally:
        _inside.reset(token)
