"""What the tests of SchemaTools are made of."""

from msgflow._frozen import freeze
from msgflow.messages import (
    OutputSchema,
    Request,
    ToolCall,
    ToolSpec,
    as_settings,
    user,
)
from msgflow.models.protocol import Profile
from msgflow.models.schema_tools import SchemaTools
from msgflow.models.scripted import ScriptedModel

NO_TOOLS = Profile(native_tools=False)
NO_SCHEMA = Profile(json_schema=False)
NEITHER = Profile(native_tools=False, json_schema=False)


def an_object(**properties) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def tool(name, description="", **properties) -> ToolSpec:
    return ToolSpec(name, description, freeze(an_object(**properties)))


ADD = tool("add", "Add two integers.", a={"type": "integer"}, b={"type": "integer"})
CITY = OutputSchema("city", freeze(an_object(name={"type": "string"}, people={"type": "integer"})))
CALL = ToolCall("call_1", "add", '{"a": 2, "b": 3}')


def ask(*messages, tools=(ADD,), output=None, **given) -> Request:
    return Request(messages or (user("2 + 3?"),), tuple(tools), output, as_settings(given))


async def exchange(request, *script, profile=NO_TOOLS):
    """The answer to a request, and the request that reached the model inside."""
    model = ScriptedModel(*(script or ('{"answer": "5"}',)), profile=profile)
    return await SchemaTools(model).complete(request), model.requests[0]


async def asked(request, profile=NO_TOOLS) -> Request:
    return (await exchange(request, profile=profile))[1]
