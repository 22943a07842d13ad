"""What `module:object` on a command line stands for."""

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar

from msgflow._bridge import wait
from msgflow.errors import DrawingError
from msgflow.nn.module import Module

T = TypeVar("T")


def load(target: str) -> Module:
    """The module at a target, or what the function there returns. Raises DrawingError.

    What its code prints goes to stderr. The current directory can be imported from, as with `python -m`.
    """
    name, _, path = target.partition(":")
    if name.endswith(".py") or not (_is_dotted(name) and _is_dotted(path)):
        raise DrawingError(f"{target!r} is not written as module:object{_as_module(name, path)}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    with redirect_stdout(sys.stderr):
        found = _imported(name)
        for part in path.split("."):
            found = _attribute(found, part)
        if not isinstance(found, Module) and callable(found):
            found = _made(found, target)
    if not isinstance(found, Module):
        raise DrawingError(f"{target!r} is of type {type(found).__name__}, and no nn.Module")
    return found


def _as_module(name: str, path: str) -> str:
    """How the path of a file is to be written."""
    module = ".".join(Path(name.removesuffix(".py")).parts)
    if not _is_dotted(module):
        module, path = "app", "workflow"
    return f", as in '{module}:{path if _is_dotted(path) else 'workflow'}'"


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _imported(name: str) -> Any:
    try:
        return _run(lambda: import_module(name), f"importing {name}")
    except DrawingError as error:
        missing = getattr(error.__cause__, "name", None)
        if not isinstance(error.__cause__, ModuleNotFoundError) or not f"{name}.".startswith(f"{missing}."):
            raise
        here = {path.stem for path in Path().glob("*.py")} | {path.parent.name for path in Path().glob("*/__init__.py")}
        near = get_close_matches(name.partition(".")[0], here)
        hint = f"near it: {', '.join(near)}" if near else "modules are looked for here and where Python finds packages"
        raise DrawingError(f"there is no Python module {missing!r}; {hint}") from None


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        near = get_close_matches(name, [each for each in dir(owner) if not each.startswith("_")])
        parts = {**getattr(owner, "__dict__", {}), **getattr(owner, "_modules", {})}
        drawable = [each for each, part in parts.items() if isinstance(part, Module)]
        owner_name = getattr(owner, "__name__", type(owner).__name__)
        known = ", ".join(near or drawable[:10]) or "no nn.Module at all"
        raise DrawingError(f"{owner_name} has no {name!r}; it has {known}") from None


def _made(make: Callable[..., Any], target: str) -> Any:
    """What a function without arguments returns; an `async def` one is waited for."""
    try:
        inspect.signature(make).bind()
    except TypeError:
        raise DrawingError(
            f"{target!r} takes arguments; give a function without any, which returns an nn.Module"
        ) from None
    except ValueError:  # a function of C that does not tell
        pass

    def call() -> Any:
        made = make()
        return wait(made) if inspect.isawaitable(made) else made

    return _run(call, f"calling {target.partition(':')[2]}()")


def _run(function: Callable[[], T], what: str) -> T:
    try:
        return function()
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError):
            file, line = error.filename, error.lineno
        else:
            frame = extract_tb(error.__traceback__)[-1]
            file, line = str(frame.filename), frame.lineno
        raise DrawingError(f"{what} raised {type(error).__name__}: {error}\n  in {file}, line {line}") from error
