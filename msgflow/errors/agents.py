"""Errors about agents, predictors and their tools."""

from msgflow.errors.root import MsgflowError


class AgentError(MsgflowError):
    """An agent or predictor that could not finish its task."""


class OutputError(AgentError, ValueError):
    """What the model wrote does not fit the output type."""

    def __init__(self, message: str, *, text: str) -> None:
        self.text = text
        super().__init__(message)


class ToolArgumentsError(AgentError, TypeError):
    """Arguments that do not fit a tool's schema."""

    def __init__(self, message: str, *, tool: str, arguments: object) -> None:
        self.tool, self.arguments = tool, arguments
        super().__init__(message)


class ToolError(AgentError):
    """A tool that raised; `__cause__` is its own exception."""

    def __init__(self, message: str, *, tool: str, arguments: object) -> None:
        self.tool, self.arguments = tool, arguments
        super().__init__(message)


class MaxTurnsError(AgentError):
    """An agent that asked for tools to the last turn it was allowed."""

    def __init__(self, agent: str, turns: int) -> None:
        self.turns = turns
        super().__init__(
            f"agent {agent!r} still asked for tools after {turns} turns. "
            "Raise max_turns, or tell it in its instructions when to answer."
        )
