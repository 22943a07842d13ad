"""One tool call of a scripted model, and what it got for it."""

import msgflow.nn as nn
from msgflow.messages import ToolCall
from msgflow.models import ScriptedModel


def call(name, arguments="{}", id="1"):
    return ToolCall(id, name, arguments)


def answers(agent):
    """The texts that the model got for its tool calls, by the calls' ids."""
    return {m.tool_call_id: m.text for m in agent.run("go").messages if m.role == "tool"}


def answer_of(tool, arguments="{}", name=""):
    """What the model got for calling this one tool with these arguments."""
    tool = tool if isinstance(tool, nn.Tool) else nn.Tool(tool, name=name)
    agent = nn.Agent("a", ScriptedModel(call(tool.name, arguments), "done"), tools=[tool])
    return answers(agent)["1"]


def returning(value):
    def tool():
        return value

    return tool


def add(a: int, b: int = 0) -> int:
    return a + b
