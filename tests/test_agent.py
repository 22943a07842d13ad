"""Agent without tools: what it asks, what it answers, what of it is state."""

import asyncio
import copy
import enum
import pickle

import pytest
from pydantic import BaseModel

import msgflow.nn as nn
from msgflow.errors import MaxTurnsError, OutputError, StateDictError, UnknownModel
from msgflow.messages import (
    ImagePart,
    Request,
    Response,
    TextDelta,
    TextPart,
    ToolCall,
    Usage,
    assistant,
    system,
    tool_answer,
    user,
)
from msgflow.models import ScriptedModel


class City(BaseModel):
    name: str
    people: int


class Colour(str, enum.Enum):  # noqa: UP042  # a StrEnum's str() is its value; this one's is not
    RED = "red"


def roles(messages):
    return [message.role for message in messages]


# --- output ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        (str, " as it is\n", " as it is\n"),
        (City, '{"name": "Paris", "people": 2}', City(name="Paris", people=2)),
        (City, '```json\n{"name": "Paris", "people": 2}\n```', City(name="Paris", people=2)),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (bool, "false", False),
        (int | None, '{"value": null}', None),
    ],
)
async def test_the_output_is_a_value_of_the_type(door, output, answer, expected):
    assert await door(nn.Agent("a", ScriptedModel(answer), output=output), "go") == expected


async def test_a_signature_as_output_gives_its_fields(door):
    agent = nn.Agent("a", ScriptedModel('{"city": "Paris", "country": "France"}'), output="-> city, country")
    answer = await door(agent, "Where is the Louvre?")
    assert (answer.city, answer.country) == ("Paris", "France")


def test_text_is_asked_for_without_a_schema_and_everything_else_with_one():
    model = ScriptedModel("x", '{"name": "x", "people": 1}')
    nn.Agent("a", model)("go")
    nn.Agent("a", model, output=City)("go")
    text, city = model.requests
    assert text.output is None
    assert city.output.name == "City" and set(city.output.schema["properties"]) == {"name", "people"}


def test_an_answer_that_does_not_fit_is_shown_to_the_model_with_what_is_wrong():
    model = ScriptedModel("Paris", '{"name": "Paris"}', '{"name": "Paris", "people": 2}')
    result = nn.Agent("a", model, output=City, output_retries=2).run("Where?")
    assert result.output.people == 2 and result.turns == 3
    assert roles(result.messages) == ["user", "assistant", "user", "assistant", "user", "assistant"]
    assert "Invalid JSON" in result.messages[2].text and "people: missing" in result.messages[4].text


@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2), (3, 4)])
def test_after_the_last_retry_the_bad_output_is_an_error_that_has_its_text(retries, asked):
    model = ScriptedModel.repeat("I would rather not")
    with pytest.raises(OutputError, match="does not fit int") as caught:
        nn.Agent("a", model, output=int, output_retries=retries)("How many?")
    assert caught.value.text == "I would rather not" and len(model.requests) == asked


def test_a_bad_output_in_the_last_turn_is_an_output_error_although_retries_are_left():
    with pytest.raises(OutputError):
        nn.Agent("a", ScriptedModel("no"), output=int, max_turns=1, output_retries=5)("How many?")


# --- what the model is shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["{{ secret }}", "{% raw %}", "{{ self.__init__ }}", "\\1", 7, None])
def test_the_value_of_a_variable_is_never_rendered(value):
    model = ScriptedModel("ok")
    nn.Agent("a", model, "Say {{ x }} to {{name}}; keep {{ other }} and {x}.")(
        "{{ x }}", vars={"x": value, "name": "Ada", "secret": "s3cret"}
    )
    asked = model.requests[0].messages
    assert asked == (system(f"Say {value} to Ada; keep {{{{ other }}}} and {{x}}."), user("{{ x }}"))


def test_without_instructions_there_is_no_system_message():
    model = ScriptedModel("ok")
    nn.Agent("a", model)("hello")
    assert model.requests == [Request((user("hello"),))]


def test_messages_come_between_the_instructions_and_the_task_and_are_not_changed():
    model, history = ScriptedModel("ok"), [user("hi"), assistant("hello")]
    result = nn.Agent("a", model, "Be kind.").run("and now?", messages=history)
    assert model.requests[0].messages == (system("Be kind."), user("hi"), assistant("hello"), user("and now?"))
    assert history == [user("hi"), assistant("hello")] and result.messages[-1] == assistant("ok")


def test_a_conversation_goes_on_from_the_messages_of_a_result_with_the_instructions_of_now():
    agent = nn.Agent("a", ScriptedModel("one", "two", "three"), "Be kind to {{ name }}.")
    first = agent.run("1", vars={"name": "Ada"})
    agent.instructions = "Be short."
    second = agent.run("2", messages=first.messages)
    assert roles(second.messages) == ["system", "user", "assistant", "user", "assistant"]
    assert second.messages[0] == system("Be short.")
    agent.instructions = ""
    assert agent.run("3", messages=second.messages).messages[0] == system("Be short.")


def test_messages_may_come_from_a_generator():
    model = ScriptedModel("ok")
    nn.Agent("a", model)("x", messages=(user(str(number)) for number in range(2)))
    assert [message.text for message in model.requests[0].messages] == ["0", "1", "x"]


def test_a_task_may_have_images(tmp_path):
    (tmp_path / "dot.png").write_bytes(b"png")
    task = (TextPart("What is this?"), ImagePart.from_file(tmp_path / "dot.png"))
    model = ScriptedModel("a dot")
    assert nn.Agent("a", model)(task) == "a dot"
    assert model.requests[0].messages == (user(task),)


@pytest.mark.parametrize("task", [None, 5, b"text", ["text"], (), ("text",), {"task": "x"}, TextPart("x")])
async def test_a_task_of_another_type_is_refused(door, task):
    with pytest.raises(TypeError, match="a task is text, or a tuple of TextPart and ImagePart, not"):
        await door(nn.Agent("a", ScriptedModel("never")), task)


@pytest.mark.parametrize("messages", ["hello", [{"role": "user", "content": "hello"}], [None]])
def test_messages_of_another_type_are_refused(messages):
    with pytest.raises(TypeError, match="messages are ChatMessages, such as those of a Result, not"):
        nn.Agent("a", ScriptedModel("never"))("go", messages=messages)


def test_everything_said_is_plain_text_whatever_subclass_of_str_it_was():
    agent = nn.Agent("a", ScriptedModel("ok"), "Be kind.")
    messages = agent.run(Colour.RED).messages
    assert [type(message.content) for message in messages] == [str] * 3 and messages[1].text == "red"


def test_a_task_of_a_megabyte_arrives_whole():
    task, model = "{{ x }} \x00 \u202e 日本 " * 50_000, ScriptedModel("ok")
    nn.Agent("a", model, "Read.")(task, vars={"x": "y"})
    assert model.requests[0].messages[1].text == task


# --- results ---------------------------------------------------------------------------------------------------------


async def test_run_and_arun_give_output_messages_usage_and_turns():
    def tool(x: int) -> int:
        return x

    def script():
        called = Response(assistant("", ToolCall("1", "tool", '{"x": 5}')), Usage(10, 2, 4, 1), "tool_call")
        return ScriptedModel(called, Response(assistant("5"), Usage(20, 3, 0, 2)))

    blocking = await asyncio.to_thread(nn.Agent("a", script(), tools=[tool]).run, "go")
    assert await nn.Agent("a", script(), tools=[tool]).arun("go") == blocking
    call = ToolCall("1", "tool", '{"x": 5}')
    assert blocking.messages == (user("go"), assistant("", call), tool_answer(call, "5"), assistant("5"))
    assert (blocking.output, blocking.usage, blocking.turns) == ("5", Usage(30, 5, 4, 3), 2)


async def test_hooks_see_the_task_and_may_replace_the_output_in_call_run_and_stream():
    agent, seen = nn.Agent("a", ScriptedModel.repeat("quiet")), []
    agent.register_forward_pre_hook(lambda module, args, kwargs: ((args[0].upper(),), kwargs))
    agent.register_forward_hook(lambda module, args, kwargs, output: seen.append((args, output)))

    async def louder(module, args, kwargs, output):
        return output + "!"

    agent.register_forward_hook(louder)
    *_, last = [event async for event in agent.stream("x")]
    outputs = [await agent.acall("x"), (await agent.arun("x")).output, last.output]
    assert outputs == ["quiet!"] * 3 and seen == [(("X",), "quiet")] * 3


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_a_model_that_never_stops_calling_tools_is_stopped_after_max_turns(door, turns):
    model = ScriptedModel.repeat(ToolCall("1", "nothing", "{}"))
    with pytest.raises(MaxTurnsError, match=f"still asked for tools after {turns} turns") as caught:
        await door(nn.Agent("a", model, max_turns=turns), "go")
    assert caught.value.turns == turns == len(model.requests)


def test_an_agent_without_a_turn_is_refused():
    with pytest.raises(ValueError, match="max_turns is 0; an agent needs at least one turn"):
        nn.Agent("a", ScriptedModel("x"), max_turns=0)


def test_instructions_that_are_no_text_are_refused():
    with pytest.raises(TypeError, match="instructions are text, not list"):
        nn.Agent("a", ScriptedModel("x"), [print])


async def test_200_calls_at_once_do_not_mix(door):
    async def answer(request):
        await asyncio.sleep(0)
        return f"{request.messages[0].text}: {request.messages[1].text}"

    agent = nn.Agent("a", ScriptedModel.repeat(answer), "{{ who }}")
    answers = await asyncio.gather(*(door(agent, f"task {n}", vars={"who": f"user {n}"}) for n in range(200)))
    assert answers == [f"user {n}: task {n}" for n in range(200)]


# --- state -----------------------------------------------------------------------------------------------------------


def lookup(city: str) -> str:
    """Look up a city."""
    return city


def test_the_state_is_instructions_model_settings_and_tool_descriptions():
    agent = nn.Agent("a", ScriptedModel("x"), "Be kind.", tools=[lookup], settings={"temperature": 0, "seed": None})
    assert agent.state_dict() == {
        "instructions": "Be kind.",
        "model": "test/scripted",
        "settings": {"temperature": 0},
        "tools.lookup.description": "Look up a city.",
    }


async def test_loading_a_state_changes_the_next_call(door):
    first, other = ScriptedModel("one", name="first"), ScriptedModel("two", name="other")
    agent = nn.Agent("a", first, "Be kind.", tools=[lookup])
    agent.load_state_dict(
        {
            "instructions": "Be short.",
            "model": "test/other",
            "settings": {"temperature": 1},
            "tools.lookup.description": "Find it.",
        }
    )
    assert await door(agent, "go") == "two" and not first.requests
    (request,) = other.requests
    assert request.messages[0] == system("Be short.") and request.settings == {"temperature": 1}
    assert request.tools[0].description == "Find it."


def test_assigning_changes_the_next_call():
    agent = nn.Agent("a", ScriptedModel("one", name="first"), "Be kind.", tools=[lookup])
    agent.instructions, agent.settings = "Be short.", {"seed": 1, "temperature": None}
    agent.tools["lookup"].description = "Find it."
    agent.model = other = ScriptedModel("two", name="other")
    assert agent("go") == "two"
    (request,) = other.requests
    assert request.messages[0] == system("Be short.") and request.settings == {"seed": 1}
    assert request.tools[0].description == "Find it." and agent.model == "test/other"
    assert hash(request) == hash(request)


def test_a_run_keeps_the_instructions_that_it_began_with():
    def swap() -> None:
        agent.instructions = "Be short."

    model = ScriptedModel(ToolCall("1", "swap", "{}"), "one", "two")
    agent = nn.Agent("a", model, "Be kind.", tools=[swap])
    agent("go")
    agent("go")
    assert [request.messages[0].text for request in model.requests] == ["Be kind.", "Be kind.", "Be short."]


class HasOnlyASpec:
    spec = "openai/gpt-4.1-mini"


BAD_VALUES = {"model": ["nope/x", "", None, 5], "settings": [None, "hot", 5, []], "instructions": [None, 5, ["x"]]}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD_VALUES for value in BAD_VALUES[name]])
def test_a_state_with_a_wrong_value_is_refused_and_nothing_is_changed(name, value):
    agent = nn.Agent("a", ScriptedModel("still here"), "Be kind.", settings={"seed": 1})
    before = agent.state_dict()
    with pytest.raises(StateDictError, match=f"{name}: "):
        agent.load_state_dict({**before, "instructions": "changed", name: value})
    assert agent.state_dict() == before and agent("go") == "still here"


@pytest.mark.parametrize("model", [None, 5, print, HasOnlyASpec()])
def test_what_is_no_model_is_refused(model):
    agent = nn.Agent("a", ScriptedModel("still here"))
    with pytest.raises(TypeError, match="a model is 'provider/model' or has spec"):
        agent.model = model
    with pytest.raises(UnknownModel, match="no provider for 'nope/x'"):
        agent.model = "nope/x"
    with pytest.raises(TypeError, match="settings are a dict such as"):
        agent.settings = "hot"
    assert agent("go") == "still here"


def test_a_subclass_may_have_buffers_of_its_own():
    class Limited(nn.Agent):
        def __init__(self, *args):
            super().__init__(*args)
            self.register_buffer("limit", 3)

    agent = Limited("a", ScriptedModel("x"))
    agent.load_state_dict({**agent.state_dict(), "limit": 4})
    assert agent.limit == 4


def test_a_deep_copy_has_a_state_of_its_own_and_shares_the_model():
    model = ScriptedModel.repeat('{"name": "Paris", "people": 1}')
    agent = nn.Agent("a", model, "Be kind.", tools=[lookup], output=City, settings={"stop": ["x"]})
    copied = copy.deepcopy(agent)
    copied.instructions = "Be short."
    assert agent("go") == copied("go") and agent.instructions == "Be kind."
    kept, changed = model.requests
    assert changed.messages[0] == system("Be short.") and len({kept, changed}) == 2  # both hashable, as cache keys


def test_a_pickled_agent_finds_its_model_by_name_again():
    model = ScriptedModel.repeat("hello")
    agent = pickle.loads(pickle.dumps(nn.Agent("a", model, "Be kind.")))
    assert agent("go") == "hello" and model.requests[0].messages[0] == system("Be kind.")


def test_repr_shows_name_model_and_tools():
    agent = nn.Agent("geographer", ScriptedModel("x"), tools=[lookup])
    assert repr(agent).startswith("Agent(\n  'geographer', model='test/scripted'\n")
    assert "(lookup): Tool(lookup)" in repr(agent)


def test_a_model_whose_stream_just_ends_is_a_bad_response():
    class Breaks(ScriptedModel):
        def stream(self, request):
            return aiter_of([TextDelta("half")])

    with pytest.raises(ValueError, match="the stream of test/scripted ended without a response"):
        list(nn.Agent("a", Breaks("x")).stream("go"))


def aiter_of(items):
    """An async iterator that has no `aclose`."""

    class Items:
        def __init__(self):
            self.left = iter(items)

        def __aiter__(self):
            return self

        async def __anext__(self):
            try:
                return next(self.left)
            except StopIteration:
                raise StopAsyncIteration from None

    return Items()
