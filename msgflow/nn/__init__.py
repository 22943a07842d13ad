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
    from msgflow.nn.layers.attention import MultiHeadAttention
    from msgflow.nn.layers.convolution import Conv1d
    from msgflow.nn.layers.dropout import Dropout
    from msgflow.nn.layers.embedding import Embedding
    from msgflow.nn.layers.linear import Linear
    from msgflow.nn.layers.lora import LoRA
    from msgflow.nn.layers.normalisation import LayerNorm, RMSNorm
    from msgflow.nn.layers.stateless import GELU, Flatten, Identity, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
    from msgflow.nn.layers.transformer import TransformerEncoder, TransformerEncoderLayer
    from msgflow.nn.predictor import Predictor
    from msgflow.nn.retriever import Retriever
    from msgflow.nn.tool import Tool
    from msgflow.nn.tree_diagram import diagram

__all__ = [
    "GELU",
    "Agent",
    "Conv1d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Function",
    "Guard",
    "Identity",
    "LayerNorm",
    "Linear",
    "LoRA",
    "LoadReport",
    "LogSoftmax",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "Predictor",
    "RMSNorm",
    "ReLU",
    "Result",
    "Retriever",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Tool",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "diagram",
    "functional",
    "hooks",
]

# What the tree itself does not need is loaded when it is asked for.
__getattr__ = _lazily(
    __name__,
    {
        "GELU": "layers.stateless",
        "Agent": "agent",
        "Conv1d": "layers.convolution",
        "Dropout": "layers.dropout",
        "Embedding": "layers.embedding",
        "Flatten": "layers.stateless",
        "Function": "function",
        "Guard": "guard",
        "Identity": "layers.stateless",
        "LayerNorm": "layers.normalisation",
        "Linear": "layers.linear",
        "LoRA": "layers.lora",
        "LogSoftmax": "layers.stateless",
        "MultiHeadAttention": "layers.attention",
        "Predictor": "predictor",
        "RMSNorm": "layers.normalisation",
        "ReLU": "layers.stateless",
        "Result": "agent",
        "Retriever": "retriever",
        "SiLU": "layers.stateless",
        "Sigmoid": "layers.stateless",
        "Softmax": "layers.stateless",
        "Tanh": "layers.stateless",
        "Tool": "tool",
        "TransformerEncoder": "layers.transformer",
        "TransformerEncoderLayer": "layers.transformer",
        "diagram": "tree_diagram",
        "functional": "",
    },
)


def __dir__() -> list[str]:
    return __all__
