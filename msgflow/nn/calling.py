"""A module's call: one version of all values and one tree of spans for each root call, hooks around every call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgflow._version_clock import Cell, Pin, pinned
from msgflow.nn.hooks import all_hooks, all_pre_hooks, is_hooked, run_with_hooks
from msgflow.trace import Recording, names, tracer

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from msgflow.nn.module import Module


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Values that a root call reads in place of the module's own, and what its span says of them."""

    values: Mapping[Cell, Any]
    attributes: Mapping[str, Any]


def call_module(module: "Module", /, *args: Any, **kwargs: Any) -> Any:
    """What `module(...)` does: a nested call without hooks at once, in as few frames as can be, any other by `call`.

    The frames count: with four at each level, flows that are nested 200 deep are within Python's recursion limit.
    """
    outer = pinned.get()
    # What is_hooked() says, without the call.
    hooked = module._forward_hooks or module._forward_pre_hooks or all_hooks or all_pre_hooks
    if outer is None or not outer.inside or hooked:
        return call(module, module._run, args, kwargs)
    active = tracer()
    if active is None:
        return module._run(args, kwargs)
    operation, subject, attributes = module._span_start()
    with Recording(active, f"{operation} {subject}".strip(), attributes):
        return module._run(args, kwargs)


def call(module: "Module", run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a module: a root call takes a pin, under which everything reads one version; others are under it."""
    outer = pinned.get()
    if outer is not None and outer.inside:
        active = tracer()
        if active is not None:
            return _recorded(active, module, run, args, kwargs)
        return run_with_hooks(module, run, args, kwargs)
    choose = module._choose_overlay
    # Where somebody has said what is to be read, in a transaction for example, there is nothing to choose.
    overlay = None if choose is None or (outer is not None and outer.own is not None) else choose(args, kwargs)
    pin = Pin(outer, None if overlay is None else overlay.values)
    token = pinned.set(pin)
    try:
        active = tracer()
        if active is not None:
            return _root_recorded(active, module, overlay, run, args, kwargs)
        return run_with_hooks(module, run, args, kwargs) if is_hooked(module) else run(args, kwargs)
    finally:
        pinned.reset(token)
        pin.end()


def _recorded(
    tracer: "Tracer", module: "Module", run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    operation, subject, attributes = module._span_start()
    with Recording(tracer, f"{operation} {subject}".strip(), attributes):
        return run_with_hooks(module, run, args, kwargs)


def _root_recorded(
    tracer: "Tracer",
    module: "Module",
    overlay: Overlay | None,
    run: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """The root's span carries the digest of the whole state."""
    operation, subject, attributes = module._span_start()
    if not operation:
        operation = attributes[names.OPERATION] = "invoke_workflow"
        attributes[names.WORKFLOW_NAME] = subject
    if overlay is None:
        attributes[names.STATE_DIGEST] = module.digest()
    else:
        attributes.update(overlay.attributes)
    with Recording(tracer, f"{operation} {subject}", attributes):
        return run_with_hooks(module, run, args, kwargs)
