"""Streamed answers: bytes, cut anywhere, to text and a response."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgflow.errors import BadModelResponse, ModelOverloaded
from msgflow.messages import TextDelta, ToolCall, Usage
from msgflow.models.wire_stream import EventData, StreamDecoder


def chunk(delta: object, **rest: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, **rest}]}).encode() + b"\n\n"


STOP = chunk({}, finish_reason="stop") + b"data: [DONE]\n\n"


def read(*pieces: bytes):
    decoder = StreamDecoder()
    text = [delta.text for piece in pieces for delta in decoder.feed(piece)]
    rest, response = decoder.end()
    return text + [delta.text for delta in rest], response


def test_a_stream_gives_its_text_and_then_the_whole():
    usage = b'data: {"id":"r","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    text, response = read(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "He"}), chunk({"content": "y"}), usage + STOP
    )
    assert text == ["He", "y"]
    assert response.text == "Hey" and response.usage == Usage(3, 2)
    assert (response.id, response.model, response.finish_reason) == ("r", "m", "stop")


@settings(max_examples=80, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_may_be_cut_anywhere(cuts, end):
    """Also inside a character, and between carriage return and line feed."""
    stream = b": ping\nevent: message\nid: 1\nretry: 5\n" + chunk({"content": "Gr\u00fc\u00dfe \U0001f600"})
    stream = stream + 'data:{"choices":[{"delta":{"content":" \u65e5\u672c"}}]}\n\n'.encode() + STOP
    stream = stream.replace(b"\n", end)
    places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
    pieces = [stream[start:stop] for start, stop in pairwise(places)]
    text, response = read(*pieces, b"")
    assert "".join(text) == response.text == "Gr\u00fc\u00dfe \U0001f600 \u65e5\u672c"


def test_data_of_several_lines_is_one_event():
    assert list(EventData().feed(b"data: a\ndata:b\n\ndata\nother: x\n\n")) == [b"a\nb"]


def test_a_line_end_that_is_cut_in_two_is_one():
    events = EventData()
    pieces = [b"data: a\r", b"\ndata: b\r", b"\n", b"\r", b"\n", b"data: c\r", b"\r"]
    assert [data for piece in pieces for data in events.feed(piece)] == [b"a\nb", b"c"]


def test_one_huge_line_in_tiny_pieces_takes_linear_time():
    line = chunk({"content": "x" * 300_000})
    text, _ = read(*(line[at : at + 64] for at in range(0, len(line), 64)), STOP)
    assert len(text[0]) == 300_000


def test_tool_calls_are_put_together_by_index():
    def part(index, **rest):
        return chunk({"tool_calls": [{"index": index, **rest}]})

    _, response = read(
        part(0, id="a", function={"name": "add", "arguments": ""}),
        part(1, id="b", function={"name": "sub", "arguments": '{"y"'}),
        part(0, function={"arguments": '{"x":'}),
        part(1, function={"arguments": ":2}"}),
        part(0, id="a", function={"name": "add", "arguments": "1}"}),
        STOP,
    )
    assert response.tool_calls == (ToolCall("a", "add", '{"x":1}'), ToolCall("b", "sub", '{"y":2}'))
    assert response.finish_reason == "tool_call"


def test_parallel_calls_that_all_have_index_0_are_told_apart_by_id():
    calls = [{"index": 0, "id": id, "function": {"name": "f", "arguments": "{}"}} for id in ("a", "b")]
    _, response = read(chunk({"tool_calls": calls}), STOP)
    assert [call.id for call in response.tool_calls] == ["a", "b"]


def test_calls_without_index_and_id_continue_the_last_one():
    _, response = read(
        chunk({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
        chunk({"tool_calls": [{"function": {"arguments": "}"}}]}),
        STOP,
    )
    assert response.tool_calls == (ToolCall("call_0", "f", "{}"),)


def test_a_streamed_refusal_is_text_that_was_filtered():
    text, response = read(chunk({"refusal": "No"}), chunk({"refusal": "."}), STOP)
    assert text == ["No", "."]
    assert (response.text, response.finish_reason) == ("No.", "content_filter")


def test_only_the_first_of_several_choices_is_read():
    other = b'data: {"choices":[{"index":1,"delta":{"content":"B"}}]}\n\n'
    assert read(chunk({"content": "A"}), other, STOP)[1].text == "A"


def test_a_stream_may_end_without_done_or_without_finish_reason_but_not_without_both():
    assert read(chunk({"content": "a"}), chunk({}, finish_reason="length"))[1].finish_reason == "length"
    assert read(chunk({"content": "a"}), b"data: [DONE]")[1].text == "a"
    with pytest.raises(BadModelResponse, match="truncated after 1 characters"):
        read(chunk({"content": "a"}))


def test_the_last_event_may_lack_its_empty_line():
    text, response = read(chunk({"content": "a"}, finish_reason="stop").rstrip())
    assert text == ["a"] and response.text == "a"


def test_what_comes_after_done_is_not_read():
    assert read(chunk({"content": "a"}), b"data: [DONE]\n\ndata: junk\n\n")[1].text == "a"


@pytest.mark.parametrize(
    "nothing", [b"", b"data: [DONE]\n\n", b": ping\n\n", b"data:\n\n", b'data: {"choices":[]}\n\n']
)
def test_a_stream_of_nothing_is_truncated(nothing):
    with pytest.raises(BadModelResponse, match="empty or truncated"):
        read(nothing)


def test_an_error_in_the_middle_of_a_stream_is_raised():
    with pytest.raises(ModelOverloaded, match="out of memory"):
        read(chunk({"content": "a"}), b'data: {"error":{"message":"out of memory","code":500}}\n\n')


@pytest.mark.parametrize(
    "junk",
    [
        b"data: nope\n\n",
        b"data: 5\n\n",
        b'data: {"choices":5}\n\n',
        b'data: {"choices":[5]}\n\n',
        b'data: {"choices":[{"delta":5}]}\n\n',
        b'data: {"choices":[{"delta":{"content":5}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":5}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[5]}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":5}]}}]}\n\n',
        b'data: {"choices":[],"usage":5}\n\n',
    ],
)
def test_chunks_that_are_not_the_protocol_are_named(junk):
    with pytest.raises(BadModelResponse, match="expected"):
        read(junk, STOP)


def test_a_streamed_call_without_a_name_is_not_the_protocol():
    with pytest.raises(BadModelResponse, match="`name`"):
        read(chunk({"tool_calls": [{"index": 0, "id": "a"}]}), STOP)


def test_deltas_are_events():
    assert list(StreamDecoder().feed(chunk({"content": "a"}))) == [TextDelta("a")]
