"""msgflow: LLM workflows with the shape of PyTorch.

    import msgflow as mf
    import msgflow.nn as nn

Everything here is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily

if TYPE_CHECKING:
    from msgflow import data, errors, flow, models, nn, optim, schema, state, tensor, trace, versions
    from msgflow._leaf import nonblocking
    from msgflow._message import Message
    from msgflow._registry import registry
    from msgflow._stream import Stream
    from msgflow.models import chat
    from msgflow.schema import InputField, OutputField, Signature
    from msgflow.state import load, save

__version__ = "0.1.0"

__all__ = [
    "InputField",
    "Message",
    "OutputField",
    "Signature",
    "Stream",
    "chat",
    "data",
    "errors",
    "flow",
    "load",
    "models",
    "nn",
    "nonblocking",
    "optim",
    "registry",
    "save",
    "schema",
    "state",
    "tensor",
    "trace",
    "versions",
]

__getattr__ = _lazily(
    __name__,
    {
        "InputField": "schema",
        "Message": "_message",
        "OutputField": "schema",
        "Signature": "schema",
        "Stream": "_stream",
        "chat": "models",
        "load": "state",
        "nonblocking": "_leaf",
        "registry": "_registry",
        "save": "state",
        **dict.fromkeys(
            ("data", "errors", "flow", "models", "nn", "optim", "schema", "state", "tensor", "trace", "versions"), ""
        ),
    },
)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
