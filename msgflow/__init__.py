"""msgflow: LLM workflows with the shape of PyTorch.

    import msgflow as mf
    import msgflow.nn as nn

Everything here is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily

if TYPE_CHECKING:
    from msgflow import data, errors, models, nn, schema, state, trace, versions
    from msgflow._leaf import nonblocking
    from msgflow._stream import Stream
    from msgflow.models import chat
    from msgflow.schema import InputField, OutputField, Signature
    from msgflow.state import load, save

__version__ = "0.1.0"

__all__ = [
    "InputField",
    "OutputField",
    "Signature",
    "Stream",
    "chat",
    "data",
    "errors",
    "load",
    "models",
    "nn",
    "nonblocking",
    "save",
    "schema",
    "state",
    "trace",
    "versions",
]

__getattr__ = _lazily(
    __name__,
    {
        "InputField": "schema",
        "OutputField": "schema",
        "Signature": "schema",
        "Stream": "_stream",
        "chat": "models",
        "load": "state",
        "nonblocking": "_leaf",
        "save": "state",
        **dict.fromkeys(("data", "errors", "models", "nn", "schema", "state", "trace", "versions"), ""),
    },
)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
