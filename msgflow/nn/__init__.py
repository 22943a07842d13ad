"""Modules: the tree that a workflow is. `import msgflow.nn as nn`."""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.nn import hooks
from msgflow.nn.containers import ModuleDict, ModuleList, Sequential
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.nn.state_dict import LoadReport

if TYPE_CHECKING:
    from msgflow.nn.agent import Agent, Result
    from msgflow.nn.predictor import Predictor
    from msgflow.nn.retriever import Retriever
    from msgflow.nn.tool import Tool

__all__ = [
    "Agent",
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
    "hooks",
]

# What talks to models is loaded when it is asked for; the tree itself needs none of it.
__getattr__ = _lazily(
    __name__,
    {"Agent": "agent", "Result": "agent", "Predictor": "predictor", "Retriever": "retriever", "Tool": "tool"},
)


def __dir__() -> list[str]:
    return __all__
