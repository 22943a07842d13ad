"""msgflow: LLM workflows with the shape of PyTorch.

    import msgflow as mf
    import msgflow.nn as nn

Everything here is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msgflow import data, errors, models, nn, schema, state, trace
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
]

_rooms = {"data", "errors", "models", "nn", "schema", "state", "trace"}
_lazy = {
    "InputField": "schema",
    "OutputField": "schema",
    "Signature": "schema",
    "Stream": "_stream",
    "chat": "models",
    "load": "state",
    "nonblocking": "_leaf",
    "save": "state",
}


def __getattr__(name: str) -> Any:
    if name in _rooms:
        return import_module(f"{__name__}.{name}")
    if name in _lazy:
        value = globals()[name] = getattr(import_module(f"{__name__}.{_lazy[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
