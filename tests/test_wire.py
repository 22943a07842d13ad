"""The chat completions protocol as functions of values."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgflow._frozen import FrozenDict, freeze
from msgflow.errors import BadModelResponse, ModelOverloaded, ModelRefused
from msgflow.messages import (
    ImagePart,
    OutputSchema,
    Request,
    TextPart,
    ToolCall,
    ToolSpec,
    Usage,
    assistant,
    system,
    tool_answer,
    user,
)
from msgflow.models import Profile
from msgflow.models.wire import decode, decode_bytes, encode, to_bytes
from msgflow.models.wire_stream import StreamDecoder

HELLO = Request((user("hello"),))


def answer(message: object = None, **rest: object) -> dict[str, object]:
    return {"choices": [{"message": {"content": "hi"} if message is None else message, **rest}]}


# --- encode


def test_a_conversation_is_encoded_message_by_message():
    call = ToolCall("c1", "add", '{"a": 1}')
    request = Request((system("be brief"), user("1+1?"), assistant("", call), tool_answer(call, "2")))
    assert encode(request, "m") == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "1+1?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
            },
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
        ],
    }


def test_text_beside_tool_calls_is_kept():
    request = Request((assistant("let me see", ToolCall("c1", "add", "{}")),))
    assert encode(request, "m")["messages"][0]["content"] == "let me see"


def test_images_are_parts_of_a_message():
    request = Request((user((TextPart("what is it?"), ImagePart("data:image/png;base64,AA=="))),))
    assert encode(request, "m")["messages"][0]["content"] == [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]


def test_tools_and_output_schema_are_encoded():
    schema = freeze({"type": "object", "properties": {}})
    request = Request((user("x"),), (ToolSpec("add", "adds", schema),), OutputSchema("sum", schema))
    body = encode(request, "m")
    assert body["tools"] == [
        {"type": "function", "function": {"name": "add", "description": "adds", "parameters": schema}}
    ]
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "sum", "schema": schema, "strict": True},
    }


def test_settings_of_the_request_win_over_defaults_and_the_protocol_over_both():
    request = Request((user("x"),), settings=FrozenDict(temperature=1, model="evil", stream=True))
    body = encode(request, "m", defaults={"temperature": 0, "seed": 7, "messages": []})
    assert body == {"temperature": 1, "seed": 7, "model": "m", "messages": [{"role": "user", "content": "x"}]}


def test_a_stream_asks_for_usage_where_the_server_takes_that():
    assert encode(HELLO, "m", stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in encode(HELLO, "m", stream=True, profile=Profile(stream_usage=False))


def test_nan_in_settings_is_refused_by_name():
    request = Request((user("x"),), settings=FrozenDict(temperature=float("nan")))
    with pytest.raises(ValueError, match=r"request\['temperature'\]"):
        to_bytes(encode(request, "m"))


def test_lone_surrogates_in_text_survive_the_wire():
    request = Request((user("half a smile \ud83d"),))
    assert json.loads(to_bytes(encode(request, "m")))["messages"][0]["content"] == "half a smile \ud83d"


@settings(max_examples=60, deadline=None)
@given(text=st.text(), arguments=st.text(), name=st.text(min_size=1))
def test_what_a_server_echoes_decodes_to_what_was_encoded(text, arguments, name):
    """A message survives encode, JSON and decode."""
    message = assistant(text, ToolCall("id", name, arguments))
    sent = json.loads(to_bytes(encode(Request((message,)), "m")))["messages"][0]
    assert decode(answer(sent)).message == message


# --- decode


def test_a_whole_answer_is_decoded():
    response = decode_bytes(
        json.dumps(
            {
                "id": "r1",
                "model": "m-2026",
                "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5.0,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": None},
                },
            }
        ).encode()
    )
    assert (response.text, response.model, response.id) == ("hi", "m-2026", "r1")
    assert response.usage == Usage(10, 5, 4, 3)
    assert response.finish_reason == "stop"


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_call"),
        ("function_call", "tool_call"),
        ("content_filter", "content_filter"),
        ("error", "error"),
        ("eos", "stop"),
        (None, "stop"),
        (["stop"], "stop"),
    ],
)
def test_finish_reasons_are_mapped(said, means):
    assert decode(answer(finish_reason=said)).finish_reason == means


def test_tool_calls_without_content_are_decoded():
    calls = [{"id": "c1", "function": {"name": "add", "arguments": '{"a":1}'}}]
    response = decode(answer({"content": None, "tool_calls": calls}, finish_reason="stop"))
    assert response.tool_calls == (ToolCall("c1", "add", '{"a":1}'),)
    assert response.text == "" and response.finish_reason == "tool_call"


def test_servers_that_give_no_id_or_an_object_as_arguments_are_understood():
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"id": "", "function": {"name": "g"}}]
    assert decode(answer({"tool_calls": calls})).tool_calls == (
        ToolCall("call_0", "f", '{"a": 1}'),
        ToolCall("call_1", "g", ""),
    )


def test_a_refusal_is_text_that_was_filtered():
    response = decode(answer({"content": None, "refusal": "I cannot."}, finish_reason="stop"))
    assert (response.text, response.finish_reason) == ("I cannot.", "content_filter")


def test_content_in_parts_is_joined_without_the_thinking():
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert decode(answer({"content": parts})).text == "ab"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "got nothing"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"1" * 5000, "expected JSON"),
        (b"[1, 2]", "expected a JSON object, got list"),
        (b"null", "got NoneType"),
        (b"{}", "`choices`"),
        (b'{"choices": []}', "`choices`"),
        (b'{"choices": {}}', "`choices`"),
        (b'{"choices": [null]}', "`choices`"),
        (b'{"choices": [{}]}', "`message`"),
        (b'{"choices": [{"message": []}]}', "`message`"),
        (b'{"choices": [{"message": {"content": 5}}]}', "`content`"),
        (b'{"choices": [{"message": {"content": ["a"]}}]}', "`content`"),
        (b'{"choices": [{"message": {"tool_calls": {"a": 1}}}]}', "`tool_calls`"),
        (b'{"choices": [{"message": {"tool_calls": [1]}}]}', "tool call"),
        (b'{"choices": [{"message": {"tool_calls": [{"function": 1}]}}]}', "tool call"),
        (b'{"choices": [{"message": {"tool_calls": [{"function": {"name": ""}}]}}]}', "`name`"),
        (b'{"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": 1}}]}}]}', "`arguments`"),
        (b'{"choices": [{"message": {}}], "usage": []}', "`usage`"),
        (b'{"choices": [{"message": {}}], "usage": {"prompt_tokens": "9"}}', "`prompt_tokens`"),
        (b'{"choices": [{"message": {}}], "usage": {"prompt_tokens": -1}}', "`prompt_tokens`"),
        (b'{"choices": [{"message": {}}], "usage": {"completion_tokens": true}}', "`completion_tokens`"),
        (b'{"choices": [{"message": {}}], "usage": {"prompt_tokens_details": [1]}}', "`cached_tokens`"),
    ],
)
def test_what_is_not_the_protocol_is_named(body, names):
    with pytest.raises(BadModelResponse, match="base_url") as caught:
        decode_bytes(body)
    assert names in str(caught.value)
    assert len(str(caught.value)) < 800


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "tool_calls", "function", "usage", "delta", "error", "name"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(payload=JSON)
def test_no_json_value_at_all_breaks_decode(payload):
    """Whatever a server sends is a response, or an error of ours."""
    for take in (decode, lambda value: StreamDecoder().add(value), lambda value: decode({"choices": [value]})):
        with suppress(BadModelResponse, ModelOverloaded, ModelRefused):
            take(payload)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "slow down", "code": 429}, ModelOverloaded),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, ModelOverloaded),
        ({"message": "oh no", "type": "server_error"}, ModelOverloaded),
        ({"message": "oh no", "status": "503"}, ModelOverloaded),
        ({"message": "no such", "code": 404}, ModelRefused),
        ({"message": "no such", "type": "invalid_request_error"}, ModelRefused),
        ({"message": "what"}, BadModelResponse),
        ("what", BadModelResponse),
        (["what"], BadModelResponse),
        (1, BadModelResponse),
        ({"unheard": "of"}, BadModelResponse),
    ],
)
def test_an_error_in_place_of_an_answer_is_an_error(error, kind):
    with pytest.raises(kind, match="reported an error"):
        decode({"error": error})
