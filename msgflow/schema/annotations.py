"""Annotations as types, also where they were postponed (`from __future__ import annotations`)."""

import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, get_type_hints

from msgflow.errors import SchemaError


def annotations_of(target: Callable[..., Any], name: str) -> dict[str, Any]:
    """The types of a function's parameters, or of a class's attributes; `name` is shown in errors.

    A name that is local to a function is found while that function is running, or where the target's body uses it.
    Raises SchemaError with the name that cannot be found.
    """
    try:
        return get_type_hints(target, localns={**_locals_around(target), **_closure(target)}, include_extras=True)
    except NameError as error:
        raise SchemaError(
            f"{name}: the annotation {error.name!r} cannot be found; define it at the top of its module, "
            "or leave out `from __future__ import annotations` and the quotes"
        ) from None
    except Exception as error:  # annotations are expressions: evaluating one raises what it likes
        raise SchemaError(f"{name}: an annotation cannot be evaluated: {type(error).__name__}: {error}") from error


def _locals_around(target: Callable[..., Any]) -> Mapping[str, Any]:
    """The local variables of the function in which the target was defined, where it is still running."""
    around, local, _ = target.__qualname__.rpartition(".<locals>.")
    frame = sys._getframe() if local else None
    while frame is not None:
        if frame.f_code.co_qualname == around and frame.f_globals.get("__name__") == target.__module__:
            return frame.f_locals
        frame = frame.f_back
    return {}


def _closure(target: Callable[..., Any]) -> Mapping[str, Any]:
    if not inspect.isfunction(target):
        return {}
    found = {}
    for name, cell in zip(target.__code__.co_freevars, target.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            found[name] = cell.cell_contents
    return found
