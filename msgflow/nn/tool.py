"""Tool: a function, or any Module, that an agent may call."""

from collections.abc import Callable
from typing import Any

from msgflow._bridge import wait
from msgflow._leaf import call_leaf
from msgflow.errors import ToolArgumentsError, ToolError
from msgflow.messages import ToolCall, ToolSpec
from msgflow.nn.asking import as_text
from msgflow.nn.module import Module
from msgflow.nn.parameter import Parameter
from msgflow.schema import describe
from msgflow.trace import captured, current_span, names, tracer


class Tool(Module):
    """A function (plain or `async def`) or a Module, described by its signature and docstring.

    `description` is a Parameter: what the model reads can be swapped and optimised like any prompt. A plain function
    runs in a worker thread, so that it may block, unless `@mf.nonblocking` marks it. Called directly, a tool takes
    the function's own arguments. Raises SchemaError for a function whose parameters have no JSON Schema.
    """

    description: str

    def __init__(
        self, function: Callable[..., Any] | Module, *, name: str = "", description: str | None = None
    ) -> None:
        super().__init__()
        self._schema = describe(function._tool_function() if isinstance(function, Module) else function, name=name)
        self.name = self._schema.name
        self.function = function
        description = self._schema.description if description is None else description
        self.register_parameter("description", Parameter(description, "tool_description"))
        self._spec = ToolSpec(self.name, str(self.description), self._schema.parameters)

    def spec(self) -> ToolSpec:
        """The tool as a model sees it now."""
        if self._spec.description != self.description:
            self._spec = ToolSpec(self.name, str(self.description), self._schema.parameters)
        return self._spec

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        return await call_leaf(self.function, *args, **kwargs)

    def answer(self, call: ToolCall) -> str:
        """Run a model's call of this tool; the result as the model will read it.

        Raises ToolArgumentsError where the arguments do not fit the schema, ToolError where the function raises.
        """
        refusal, arguments = None, {}
        try:
            arguments = self._schema.bind(call.arguments)
        except ToolArgumentsError as error:
            refusal = error

        def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            # Refused inside the call, so that its span says so.
            if refusal is not None:
                raise refusal
            return wait(self._execute(call, kwargs))

        result: Any = self._enter(run, (), arguments)
        return as_text(result)

    async def _execute(self, call: ToolCall, arguments: dict[str, Any]) -> Any:
        if tracer() is not None:
            current_span().set_attribute(names.TOOL_CALL_ID, call.id)
        try:
            result = await self.aforward(**arguments)
        except Exception as error:
            raise ToolError(
                f"the tool {self.name!r} raised {type(error).__name__}: {error} (arguments: {call.arguments:.200})",
                tool=self.name,
                arguments=arguments,
            ) from error
        if tracer() is not None and captured():
            current_span().set_attributes({names.TOOL_ARGUMENTS: call.arguments, names.TOOL_RESULT: as_text(result)})
        return result

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


def as_tool(tool: Callable[..., Any] | Module) -> Tool:
    return tool if isinstance(tool, Tool) else Tool(tool)
