"""What goes to a model and comes back: frozen values, equal by content."""

import base64
import dataclasses

import pytest

from msgflow import messages
from msgflow.messages import ChatMessage, ImagePart, Request, Response, TextPart, ToolCall, Usage


def test_two_equal_requests_are_one_key():
    def request():
        return Request(
            (messages.system("Be kind"), messages.user((TextPart("look"), ImagePart("https://x/y.png")))),
            tools=(messages.ToolSpec("add", "Adds", messages.freeze({"type": "object"})),),
            output=messages.OutputSchema("Answer", messages.freeze({"type": "string"})),
            settings=messages.as_settings({"temperature": 0.5, "stop": ["a"]}),
        )

    assert request() == request() and len({request(), request()}) == 1
    assert request() != dataclasses.replace(request(), settings=messages.NOTHING)


def test_messages_cannot_be_changed():
    for value in (messages.user("hi"), Usage(), Response(messages.assistant("ok")), TextPart("x")):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            setattr(value, dataclasses.fields(value)[0].name, "changed")


def test_the_text_of_a_message_is_that_of_its_text_parts():
    assert messages.user("plain").text == "plain"
    assert messages.user((TextPart("a"), ImagePart("https://x/y.png"), TextPart("b"))).text == "ab"
    assert messages.user(()).text == ""


def test_the_makers_give_each_role():
    call = ToolCall("1", "add", '{"a": 1}')
    assert messages.system("s") == ChatMessage("system", "s")
    assert messages.assistant("", call) == ChatMessage("assistant", "", (call,))
    assert messages.tool_answer(call, "3") == ChatMessage("tool", "3", (), "1")


def test_a_response_shows_its_messages_text_and_tool_calls():
    call = ToolCall("1", "add", "{}")
    response = Response(messages.assistant("hello", call))
    assert (response.text, response.tool_calls, response.usage, response.finish_reason) == (
        "hello",
        (call,),
        Usage(),
        "stop",
    )


def test_usage_adds_up_field_by_field():
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)
    assert sum([Usage(1), Usage(2)], Usage()) == Usage(3)


def test_settings_that_are_none_are_left_out():
    assert messages.as_settings({"temperature": None, "seed": 0, "stop": []}) == {"seed": 0, "stop": []}
    with pytest.raises(TypeError, match=r"settings\['f'\] is of type function"):
        messages.as_settings({"f": lambda: None})


def test_an_image_from_a_file_is_a_data_url(tmp_path):
    path = tmp_path / "dot.PNG"
    path.write_bytes(b"\x89PNG")
    assert ImagePart.from_file(path).url == "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
    assert ImagePart.from_file(str(path)) == ImagePart.from_file(path)


@pytest.mark.parametrize("name", ["notes.txt", "no suffix", "archive.png.zip"])
def test_a_file_without_an_image_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="has no image suffix"):
        ImagePart.from_file(tmp_path / name)


def test_an_image_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        ImagePart.from_file(tmp_path / "none.png")
