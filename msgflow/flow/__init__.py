"""Flows: modules that compose modules. `from msgflow import flow`."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.flow.pipeline import Pipeline
from msgflow.flow.refs import bind, input_of, previous, ref
from msgflow.flow.refs import flow_input as input
from msgflow.flow.steps import Flow
from msgflow.nn.sketch import tables as _tables

if TYPE_CHECKING:
    from msgflow.flow.attempts import Fallback, Retry, Timeout, fallback, retry, timeout
    from msgflow.flow.branches import Barrier, barrier
    from msgflow.flow.choices import IfElse, Switch
    from msgflow.flow.graph import Graph
    from msgflow.flow.inline import Inline
    from msgflow.flow.loop import Loop
    from msgflow.flow.map import Map
    from msgflow.flow.parallel import Diverter, Parallel

__all__ = [
    "Barrier",
    "Diverter",
    "Fallback",
    "Flow",
    "Graph",
    "IfElse",
    "Inline",
    "Loop",
    "Map",
    "Parallel",
    "Pipeline",
    "Retry",
    "Switch",
    "Timeout",
    "barrier",
    "bind",
    "fallback",
    "input",
    "input_of",
    "previous",
    "ref",
    "retry",
    "timeout",
]

_tables.append("msgflow.flow.drawing")

__getattr__ = _lazily(
    __name__,
    {
        "Barrier": "branches",
        "Diverter": "parallel",
        "Fallback": "attempts",
        "Graph": "graph",
        "IfElse": "choices",
        "Inline": "inline",
        "Loop": "loop",
        "Map": "map",
        "Parallel": "parallel",
        "Retry": "attempts",
        "Switch": "choices",
        "Timeout": "attempts",
        "barrier": "branches",
        "fallback": "attempts",
        "retry": "attempts",
        "timeout": "attempts",
    },
)


def __dir__() -> list[str]:
    return __all__
