"""Modules: the tree that a workflow is. `import msgflow.nn as nn`."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.nn import hooks
from msgflow.nn.containers import ModuleDict, ModuleList, Sequential
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.nn.state_dict import LoadReport

if TYPE_CHECKING:
    from msgflow.nn import functional
    from msgflow.nn.agent import Agent, Result
    from msgflow.nn.function import Function
    from msgflow.nn.guard import Guard
    from msgflow.nn.predictor import Predictor
    from msgflow.nn.retriever import Retriever
    from msgflow.nn.tool import Tool
    from msgflow.nn.tree_diagram import diagram

__all__ = [
    "Agent",
    "Function",
    "Guard",
    "LoadReport",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "Predictor",
    "Result",
    "Retriever",
    "Sequential",
    "Tool",
    "diagram",
    "functional",
    "hooks",
]

# What the tree itself does not need is loaded when it is asked for.
__getattr__ = _lazily(
    __name__,
    {
        "Agent": "agent",
        "Function": "function",
        "Guard": "guard",
        "Predictor": "predictor",
        "Result": "agent",
        "Retriever": "retriever",
        "Tool": "tool",
        "diagram": "tree_diagram",
        "functional": "",
    },
)


def __dir__() -> list[str]:
    return __all__
