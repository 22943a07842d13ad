"""A function as a module, so that it can be a step: with hooks, spans and both doors."""

from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any

from msgflow._bridge import current_flow
from msgflow._leaf import is_nonblocking, resolved
from msgflow.nn.module import Module
from msgflow.trace import names


class Function(Module):
    """Calls a function. One that is not `async def` runs in a worker thread under `acall` and in the branches of a
    flow, unless `@mf.nonblocking` marks it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        if isinstance(function, Module) or not callable(function):
            raise TypeError(f"a function is expected, not {function!r:.80} of type {type(function).__name__}")
        if isinstance(function, type) and issubclass(function, Module):
            raise TypeError(f"{function.__name__} is a class of modules; give a module, such as {function.__name__}()")
        self.function = function
        is_async = iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)
        self.__dict__.update(
            _is_plain=not is_async, _is_async=is_async, blocking=not is_async and not is_nonblocking(function)
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return resolved(self.function(*args, **kwargs))

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        result: Any = self.function(*args, **kwargs)
        return await result

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if current_flow() is not None or self._is_declared:
            return super()._run(args, kwargs)
        result = self.function(*args, **kwargs)  # what `forward` does, without the calls
        return resolved(result) if hasattr(result, "__await__") else result

    @property
    def name(self) -> str:
        function = self.function
        while isinstance(function, partial):
            function = function.func
        return getattr(function, "__name__", type(function).__name__)

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        return "", self.name, {names.MODULE: self.name}

    def _tool_function(self) -> Callable[..., Any]:
        return self.function

    def extra_repr(self) -> str:
        return self.name
