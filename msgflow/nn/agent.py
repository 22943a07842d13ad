"""Agent: a model with instructions and tools, which works on a task until it has an answer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from msgflow._bridge import gather, in_flow, wait
from msgflow._message import Message
from msgflow._stream import Stream
from msgflow.errors import MaxTurnsError, OutputError, ToolArgumentsError
from msgflow.messages import (
    ChatMessage,
    ImagePart,
    Part,
    Request,
    TextPart,
    ToolCall,
    ToolFinished,
    ToolStarted,
    Usage,
    system,
    tool_answer,
    user,
)
from msgflow.models import Model
from msgflow.nn.asking import Emit, ask, output_schema, usage_attributes
from msgflow.nn.calling import call
from msgflow.nn.model_buffer import ModelBuffer
from msgflow.nn.module import Module
from msgflow.nn.on_message import Reads, declare, read
from msgflow.nn.parameter import Parameter
from msgflow.nn.prompt import prompt_version, render
from msgflow.nn.tool import Tool, ToolDict, as_tool
from msgflow.schema import OutputType, signature_of
from msgflow.trace import current_span, names, tracer


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave: the output, every message of the conversation, the tokens of all turns, the number of turns."""

    output: Any
    messages: tuple[ChatMessage, ...]
    usage: Usage
    turns: int


class Agent(ModelBuffer):
    """Asks a model, runs the tools it asks for, and so on until it answers.

    `output` is what an answer is: `str`, a pydantic model or another type, or a signature such as "-> city, country".
    State: `instructions` (a Parameter), `model` ("provider/model") and `settings` (temperature, ...), and each tool's
    description. An answer that does not fit `output` is shown to the model with what is wrong, `output_retries` times.
    Arguments that do not fit a tool go back to the model, too; a tool that raises ends the run with ToolError.

    Raises OutputError, ToolError, MaxTurnsError, and the ModelError of a model that does not answer.
    """

    instructions: str

    def __init__(
        self,
        name: str,
        model: str | Model,
        instructions: str = "",
        *,
        output: Any = str,
        tools: Iterable[Callable[..., Any] | Module] = (),
        max_turns: int = 10,
        output_retries: int = 1,
        description: str = "",
        settings: Mapping[str, Any] | None = None,
        reads: Reads = None,
        writes: str | None = None,
    ) -> None:
        super().__init__()
        declare(self, reads, writes)
        if max_turns < 1:
            raise ValueError(f"max_turns is {max_turns}; an agent needs at least one turn to answer")
        self.name, self.description = name, description
        self.max_turns, self.output_retries = max_turns, output_retries
        if not isinstance(instructions, str):
            raise TypeError(f"instructions are text, not {type(instructions).__name__}")
        self._output = OutputType(signature_of(output) if isinstance(output, str) else output)
        self.register_parameter("instructions", Parameter(instructions, "system_prompt"))
        self.register_buffer("model", model)
        self.register_buffer("settings", settings or {})
        self.tools = ToolDict(_by_name(as_tool(tool) for tool in tools))

    async def aforward(
        self,
        task: str | tuple[Part, ...],
        *,
        vars: Mapping[str, Any] | None = None,
        messages: Iterable[ChatMessage] = (),
    ) -> Any:
        """The output for a task. `vars` fill `{{ name }}` in the instructions; `messages` came before the task.

        These may be the messages of an earlier Result: the instructions of now stand in for those of then.
        """
        return (await self._converse(task, vars=vars, messages=messages)).output

    def run(
        self,
        task: str | tuple[Part, ...] | Message,
        *,
        vars: Mapping[str, Any] | None = None,
        messages: Iterable[ChatMessage] = (),
    ) -> Result:
        """As calling the agent, with everything that happened beside the output, which is written to no Message."""
        return self._run_for_result(None, task, vars=vars, messages=messages)

    async def arun(self, task: str | tuple[Part, ...] | Message, **options: Any) -> Result:
        """As `run`, for async code."""
        return await in_flow(self.run, (task,), options)

    def stream(
        self,
        task: str | tuple[Part, ...] | Message,
        *,
        vars: Mapping[str, Any] | None = None,
        messages: Iterable[ChatMessage] = (),
    ) -> Stream[Any]:
        """Events as they happen: TextDelta, ToolStarted, ToolFinished, and the Result as the last one."""

        async def source(emit: Emit) -> None:
            await emit(await in_flow(self._run_for_result, (emit, task), {"vars": vars, "messages": messages}))

        return Stream(source)

    def _run_for_result(self, emit: Emit | None, *args: Any, **kwargs: Any) -> Result:
        results: list[Result] = []

        def converse(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            args, kwargs = read(self, args, kwargs)
            results.append(wait(self._converse(*args, emit=emit, **kwargs)))
            return results[-1].output

        # Hooks see and may replace the output, as in a plain call.
        output = call(self, converse, args, kwargs)
        return replace(results[-1], output=output)

    async def _converse(
        self,
        task: str | tuple[Part, ...],
        *,
        vars: Mapping[str, Any] | None = None,
        messages: Iterable[ChatMessage] = (),
        emit: Emit | None = None,
    ) -> Result:
        model, wording = self.resolve_model(), str(self.instructions)
        said = (*_opening(render(wording, vars), messages), user(_content(task)))
        request = Request(said, self._tool_specs(), output_schema(self._output), self.settings)
        usage, mistakes = Usage(), 0
        for turn in range(1, self.max_turns + 1):
            response = await ask(model, request, f"{self.name}.instructions", wording, emit)
            usage += response.usage
            if tracer() is not None:  # here and not at the end, because a run that fails has spent its tokens, too
                current_span().set_attributes(usage_attributes(usage))
            said = (*request.messages, response.message)
            if response.tool_calls:
                said += await self._run_tools(response.tool_calls, emit)
            else:
                try:
                    output = self._output.parse(response.text)
                except OutputError as error:
                    mistakes += 1
                    if mistakes > self.output_retries or turn == self.max_turns:
                        raise
                    said += (user(f"That was not a valid answer: {error}"),)
                else:
                    return Result(output, said, usage, turn)
            request = replace(request, messages=said)
        raise MaxTurnsError(self.name, self.max_turns)

    async def _run_tools(self, calls: tuple[ToolCall, ...], emit: Emit | None) -> tuple[ChatMessage, ...]:
        return tuple(await gather([lambda call=call: self._run_tool(call, emit) for call in calls]))  # type: ignore[misc]

    async def _run_tool(self, call: ToolCall, emit: Emit | None) -> ChatMessage:
        if emit is not None:
            await emit(ToolStarted(call))
        tool = self.tools.get(call.name)
        try:
            if not isinstance(tool, Tool):
                known = ", ".join(self.tools) or "none"
                raise ToolArgumentsError(
                    f"no tool {call.name!r}; there are: {known}", tool=call.name, arguments=call.arguments
                )
            text = await in_flow(tool.answer, (call,), {})
        except ToolArgumentsError as error:
            text = f"Error: {error}"
        if emit is not None:
            await emit(ToolFinished(call, text))
        return tool_answer(call, text)

    def _tool_specs(self) -> tuple[Any, ...]:
        return tuple(tool.spec() for tool in self.tools.values())

    def _span_start(self) -> tuple[str, str, dict[str, Any]]:
        start = {
            names.OPERATION: "invoke_agent",
            names.AGENT_NAME: self.name,
            names.PROMPT_NAME: f"{self.name}.instructions",
            names.PROMPT_VERSION: prompt_version(str(self.instructions)),
            names.REQUEST_MODEL: self.model.partition("/")[2],
        }
        if self.description:
            start[names.AGENT_DESCRIPTION] = self.description
        return "invoke_agent", self.name, start

    def _tool_function(self) -> Callable[..., Any]:
        # Only its signature is used.
        async def agent(task: str) -> Any: ...

        agent.__doc__ = self.description
        return agent

    def extra_repr(self) -> str:
        return f"{self.name!r}, model={self.model!r}"


def _by_name(tools: Iterable[Tool]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in named:
            raise ValueError(
                f"two tools are named {tool.name!r}; give one of them another: nn.Tool(function, name=...)"
            )
        named[tool.name] = tool
    return named


def _opening(instructions: str, messages: Iterable[ChatMessage]) -> tuple[ChatMessage, ...]:
    before = tuple(messages)
    for message in before:
        if not isinstance(message, ChatMessage):
            raise TypeError(f"messages are ChatMessages, such as those of a Result, not {type(message).__name__}")
    if not instructions:
        return before
    return system(instructions), *(before[1:] if before and before[0].role == "system" else before)


def _content(task: Any) -> str | tuple[Part, ...]:
    if isinstance(task, str):
        return str.__str__(task)
    if isinstance(task, tuple) and task and all(isinstance(part, TextPart | ImagePart) for part in task):
        return task
    raise TypeError(f"a task is text, or a tuple of TextPart and ImagePart, not {task!r:.80}")
