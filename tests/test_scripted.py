"""The scripted model, which is a product for the tests of others."""

import asyncio
import gc

import pytest

from msgflow._frozen import FrozenDict
from msgflow.errors import ScriptError, UnknownModel
from msgflow.messages import ChatMessage, Finished, Request, Response, TextDelta, ToolCall, Usage, system, user
from msgflow.models import Model, Profile, ScriptedModel, chat

HELLO = Request((system("be brief"), user("hello there")))


async def text(model) -> str:
    return (await model.complete(HELLO)).text


async def test_text_is_an_answer_with_words_as_usage():
    response = await ScriptedModel("good day to you").complete(HELLO)
    assert response == Response(ChatMessage("assistant", "good day to you"), Usage(4, 4), "stop", "scripted")


async def test_tool_calls_are_answers():
    one, two = ToolCall("1", "f", '{"a": 1}'), ToolCall("2", "g", "{}")
    model = ScriptedModel(one, (one, two))
    first, second = await model.complete(HELLO), await model.complete(HELLO)
    assert first.tool_calls == (one,) and first.finish_reason == "tool_call" and first.usage.output == 2
    assert second.tool_calls == (one, two)


async def test_a_response_is_given_back_as_it_is():
    response = Response(ChatMessage("assistant", "x"), Usage(100, 1), "length")
    assert await ScriptedModel(response).complete(HELLO) is response


async def test_exceptions_are_raised():
    with pytest.raises(TimeoutError, match="late"):
        await ScriptedModel(TimeoutError("late")).complete(HELLO)


async def test_functions_see_the_request():
    async def later(request):
        return ToolCall("1", request.messages[0].text, "{}")

    model = ScriptedModel(lambda request: request.messages[-1].text.upper(), later, lambda _: KeyError("k"))
    assert await text(model) == "HELLO THERE"
    assert (await model.complete(HELLO)).tool_calls[0].name == "be brief"
    with pytest.raises(KeyError):
        await model.complete(HELLO)


@pytest.mark.parametrize("wrong", [5, None, (), ("a",), ["a"], TimeoutError])
def test_what_is_no_answer_is_refused_when_the_script_is_made(wrong):
    with pytest.raises(TypeError, match="a script holds text"):
        ScriptedModel(wrong)


async def test_what_a_function_makes_is_checked_too():
    with pytest.raises(TypeError, match="a script holds text"):
        await ScriptedModel(lambda request: 5).complete(HELLO)


async def test_requests_are_kept():
    model = ScriptedModel("a", "b")
    await model.complete(HELLO)
    await model.complete(Request(()))
    assert model.requests == [HELLO, Request(())]


async def test_running_dry_says_how_many_answers_there_were_and_what_was_asked():
    model = ScriptedModel("only one", name="greeter")
    await model.complete(HELLO)
    with pytest.raises(ScriptError, match=r"test/greeter ran dry.*1 answer, and request 2 .*'hello there'"):
        await model.complete(HELLO)


async def test_running_dry_on_an_empty_request():
    with pytest.raises(ScriptError, match="0 answers, and request 1 ends with ''"):
        await ScriptedModel().complete(Request(()))


async def test_answers_that_are_left_over_are_an_error_at_the_end():
    model = ScriptedModel("a", "b")
    with pytest.raises(ScriptError, match=r"asked 1 times, and 1 of its 2 answers .*'b'"), model:
        await model.complete(HELLO)


async def test_an_error_in_the_block_is_not_covered_up_by_answers_left_over():
    with pytest.raises(KeyError), ScriptedModel("a"):
        raise KeyError


async def test_a_script_that_was_used_up_is_done():
    with ScriptedModel("a") as model:
        assert await text(model) == "a"
    model.done()


async def test_an_endless_script_starts_over_and_is_always_done():
    model = ScriptedModel("a", "b", loop=True)
    assert [await text(model) for _ in range(5)] == ["a", "b", "a", "b", "a"]
    model.done()
    assert [await text(ScriptedModel.repeat("x", name="n")) for _ in range(2)] == ["x", "x"]


def test_an_endless_script_of_nothing_is_refused():
    with pytest.raises(TypeError, match="at least one"):
        ScriptedModel.repeat()


@pytest.mark.parametrize("whole", ["one two  three\n", " leading", "word", "   "])
async def test_a_stream_is_the_text_in_words_and_then_the_response(whole):
    events = [event async for event in ScriptedModel(whole).stream(HELLO)]
    assert "".join(event.text for event in events[:-1]) == whole
    assert isinstance(events[-1], Finished) and events[-1].response.text == whole


async def test_a_stream_of_a_tool_call_is_only_finished():
    events = [event async for event in ScriptedModel(ToolCall("1", "f", "{}")).stream(HELLO)]
    assert [type(event) for event in events] == [Finished]
    assert [type(event) async for event in ScriptedModel("a b").stream(HELLO)] == [TextDelta, TextDelta, Finished]


async def test_calls_at_once_get_one_answer_each():
    async def slow(request):
        await asyncio.sleep(0)
        return "slow"

    model = ScriptedModel(*[str(number) for number in range(50)], slow)
    answers = await asyncio.gather(*[text(model) for _ in range(51)])
    assert sorted(answers) == sorted([*map(str, range(50)), "slow"])
    model.done()


def test_it_is_a_model():
    model = ScriptedModel("a", name="greeter", profile=Profile(native_tools=False))
    assert isinstance(model, Model)
    assert (model.spec, model.provider, model.name) == ("test/greeter", "test", "greeter")
    assert not model.profile.native_tools
    assert repr(model) == "<ScriptedModel 'test/greeter': 1 of 1 answers left>"
    assert repr(ScriptedModel.repeat("a")) == "<ScriptedModel 'test/scripted': endless>"


def test_chat_finds_the_living_model_of_a_name():
    model = ScriptedModel("a", name="found")
    assert chat("test/found") is model


async def test_chat_finds_it_with_settings():
    model = ScriptedModel("a", name="found")
    await chat("test/found", temperature=0).complete(HELLO)
    assert model.requests[0].settings == FrozenDict(temperature=0)


def test_a_model_that_nobody_holds_is_forgotten():
    ScriptedModel("a", name="forgotten")
    gc.collect()
    with pytest.raises(UnknownModel, match="test/forgotten"):
        chat("test/forgotten")
