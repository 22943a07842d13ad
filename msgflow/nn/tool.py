"""Tool: a function, or any Module, that an agent may call."""

from collections.abc import Callable
from dataclasses import replace
from inspect import isasyncgen, isgenerator
from typing import Any

from msgflow._bridge import in_thread, wait
from msgflow._leaf import call_leaf
from msgflow.errors import ToolArgumentsError, ToolError
from msgflow.messages import ToolCall, ToolSpec
from msgflow.nn import calling
from msgflow.nn.asking import as_text
from msgflow.nn.containers import ModuleDict
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.schema import FunctionSchema, describe
from msgflow.trace import Recording, captured, current_span, names, tracer


class Tool(Module):
    """A function (plain or `async def`) or a Module, described by its signature and docstring.

    A Module is called by its `name`, else by that of its class. What a generator yields is its result, as a list.
    `description` is a Parameter: what the model reads can be swapped and optimised like any prompt. A plain function
    runs in a worker thread, so that it may block, unless `@mf.nonblocking` marks it. Called directly, a tool takes
    the function's own arguments. Raises SchemaError for a function whose parameters have no JSON Schema.
    """

    description: str

    def __init__(
        self, function: Callable[..., Any] | Module, *, name: str = "", description: str | None = None
    ) -> None:
        super().__init__()
        self._schema = _described(function, name)
        self.name = self._schema.name
        self.function = function
        description = self._schema.description if description is None else description
        self.register_parameter("description", Parameter(description, "tool_description"))

    def spec(self) -> ToolSpec:
        """The tool as a model sees it now."""
        return ToolSpec(self.name, str(self.description), self._schema.parameters)

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        return await call_leaf(self.function, *args, **kwargs)

    def answer(self, call: ToolCall) -> str:
        """Run a model's call of this tool; the result as the model will read it.

        Raises ToolArgumentsError where the arguments do not fit the schema, ToolError where the function raises or its
        result cannot be written.
        """
        arguments = self._bound(call)

        def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return wait(self._execute(call, args, kwargs))

        result: Any = calling.call(self, run, (), arguments)
        try:
            return as_text(result)
        except Exception as error:
            raise self._failed(error, call, arguments) from error

    def _bound(self, call: ToolCall) -> dict[str, Any]:
        """The arguments of a call. A refused one has its span, but no hooks: nothing is called."""
        try:
            return self._schema.bind(call.arguments)
        except ToolArgumentsError:
            active = tracer()
            if active is not None:
                operation, subject, start = self._span_start()
                with Recording(active, f"{operation} {subject}", {**start, names.TOOL_CALL_ID: call.id}):
                    raise
            raise

    async def _execute(self, call: ToolCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if tracer() is not None:
            current_span().set_attribute(names.TOOL_CALL_ID, call.id)
        try:
            result = await _collected(await self.aforward(*args, **kwargs))
            if tracer() is not None and captured():
                content = {names.TOOL_ARGUMENTS: call.arguments, names.TOOL_RESULT: as_text(result)}
                current_span().set_attributes(content)
            return result
        except Exception as error:
            raise self._failed(error, call, kwargs) from error

    def _failed(self, error: Exception, call: ToolCall, arguments: dict[str, Any]) -> ToolError:
        return ToolError(
            f"the tool {self.name!r} raised {type(error).__name__}: {error} (arguments: {call.arguments:.200})",
            tool=self.name,
            arguments=arguments,
        )

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        start = {
            names.OPERATION: "execute_tool",
            names.TOOL_NAME: self.name,
            names.TOOL_TYPE: "function",
            names.TOOL_DESCRIPTION: str(self.description),
        }
        return "execute_tool", self.name, start

    def _tool_function(self) -> Callable[..., Any]:
        function = self.function
        return function._tool_function() if isinstance(function, Module) else function

    def extra_repr(self) -> str:
        return self.name


class ToolDict(ModuleDict):
    """Tools by their names; a function or a Module that is put in becomes a Tool."""

    def register_module(self, name: str, module: Callable[..., Any] | Module) -> None:
        tool = as_tool(module, name)
        if tool.name != name:
            raise ValueError(f"the tool {tool.name!r} cannot be kept as {name!r}: a model calls it by its own name")
        super().register_module(name, tool)


def as_tool(tool: Callable[..., Any] | Module, name: str = "") -> Tool:
    return tool if isinstance(tool, Tool) else Tool(tool, name=name)


def _described(function: Callable[..., Any] | Module, name: str) -> FunctionSchema:
    """The schema of a function or a Module; what its `forward` does not say of a module, its class does."""
    if not isinstance(function, Module):
        return describe(function, name=name)
    own_name = getattr(function, "name", None)
    name = name or (str(own_name) if isinstance(own_name, str) else type(function).__name__)
    described = function._tool_function()
    schema = describe(described, name=name)
    if schema.description or getattr(described, "__self__", None) is not function:
        return schema
    summary = (type(function).__doc__ or "").strip().split("\n\n")[0]
    return replace(schema, description=" ".join(summary.split()))


async def _collected(result: Any) -> Any:
    """The items of a generator. Its body runs here, where it may block and where its errors are the tool's."""
    if isgenerator(result):
        return await in_thread(list, result)
    return [item async for item in result] if isasyncgen(result) else result
