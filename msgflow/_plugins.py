"""Plug-ins: what other packages add to msgflow.

    [project.entry-points."msgflow"]
    acme = "acme_msgflow"                 a module, which registers things where it is imported
    acme = "acme_msgflow.adding:add"      or a function without arguments, which does so where it is called

They are loaded when something is looked up that is not there, and never by an import of msgflow: a program that uses
none pays nothing, and a broken one cannot keep msgflow from starting.
"""

import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from inspect import isawaitable
from types import ModuleType
from typing import TYPE_CHECKING

from msgflow._once import once

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "msgflow"

_begun: set["EntryPoint"] = set()
_unsaid: list[str] = []
_is_loading: ContextVar[bool] = ContextVar("is_loading", default=False)


def load_plugins() -> None:
    """Load each plug-in that is installed, once; other threads that call this wait for it.

    Warns of each that could not be loaded. A plug-in that looks for what another one adds finds it, in any order.
    """
    if _is_loading.get():
        _load_others()
        return
    _load_all(GROUP)
    while _unsaid:
        warnings.warn(_unsaid.pop(), RuntimeWarning, stacklevel=2)


@once
def _load_all(group: str) -> None:
    # `_begun` outlives this being called again, in a forked child and after Ctrl-C: nothing is loaded twice.
    token = _is_loading.set(True)
    try:
        _load_others()
    finally:
        _is_loading.reset(token)


def _load_others() -> None:
    for plugin in _installed():
        if plugin not in _begun:
            _begun.add(plugin)
            _load(plugin)


def _installed() -> Iterator["EntryPoint"]:
    from importlib.metadata import entry_points

    try:
        yield from entry_points(group=GROUP)
    except Exception as error:  # the files of any package that is installed are read
        _unsaid.append(f"no plug-ins: the list of installed packages cannot be read: {type(error).__name__}: {error}")


def _load(plugin: "EntryPoint") -> None:
    try:
        problem = _problem(plugin)
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}. `import {plugin.module}` may show where"
    if problem:
        owner = f" of {plugin.dist.name}" if plugin.dist else ""
        _unsaid.append(f"the plug-in {plugin.name} = {plugin.value!r}{owner} could not be loaded: {problem}")


def _problem(plugin: "EntryPoint") -> str:
    """What is wrong with a plug-in that loads without an error; "" for nothing."""
    added = plugin.load()
    if isinstance(added, ModuleType):
        return ""
    if not callable(added):
        return f"it is of type {type(added).__name__}; name a module, or a function without arguments"
    result = added()
    if not isawaitable(result):
        return ""
    if hasattr(result, "close"):
        result.close()
    return "it is `async def`, and is called where nothing can wait for it; write `def`"
