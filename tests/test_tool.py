"""Tool: what may be one, what of its result a model reads, and its hooks."""

import asyncio
import enum
import threading

import pytest
from pydantic import BaseModel

import msgflow as mf
import msgflow.nn as nn
from msgflow.data import BM25, Document
from msgflow.errors import SchemaError, ToolArgumentsError, ToolError
from msgflow.models import ScriptedModel
from tests.tool_calls import add, answer_of, returning


def thread_name() -> str:
    return threading.current_thread().name


async def athread_name() -> str:
    await asyncio.sleep(0)
    return thread_name()


class Doubles(nn.Module):
    """Double a number.

    More of it.
    """

    def forward(self, number: int) -> int:
        return 2 * number


class Callable:
    async def __call__(self, number: int) -> int:
        """Triple a number."""
        return 3 * number


def test_a_plain_function_runs_in_a_worker_thread_and_others_in_place():
    assert answer_of(thread_name) == "msgflow worker"
    assert answer_of(athread_name) == "msgflow"
    assert answer_of(mf.nonblocking(lambda: thread_name()), name="in_place") == "msgflow"


def test_modules_agents_predictors_retrievers_partials_and_callable_objects_are_tools():
    inner = nn.Agent("inner", ScriptedModel("from inside"), description="Knows it all.")
    predictor = nn.Predictor("city -> country", ScriptedModel('{"country": "France"}'), name="locate")
    retriever = nn.Retriever(BM25([Document("a", "red apples"), Document("b", "green pears")]), name="fruit")

    class Estimator:
        def predict(self, x: float) -> float:
            """Halve it."""
            return x / 2

    assert answer_of(Doubles(), '{"number": 4}') == "8"
    assert answer_of(Callable(), '{"number": 4}') == "12"
    assert answer_of(inner, '{"task": "tell"}') == "from inside"
    assert answer_of(predictor, '{"city": "Paris"}') == '{"country":"France"}'
    assert '"text":"red apples"' in answer_of(retriever, '{"query": "apples"}')
    assert answer_of(nn.Predictor(Estimator()), '{"x": 3}') == "1.5"


def test_a_module_is_described_by_its_forward_and_else_by_its_class():
    class Says(nn.Module):
        def forward(self, x: str) -> str:
            """Say it."""
            return x

    class Silent(nn.Module):
        name = "quiet"

        async def aforward(self, x: str) -> str:
            return x

    described = [(tool.name, str(tool.description)) for tool in map(nn.Tool, (Doubles(), Says(), Silent()))]
    assert described == [("Doubles", "Double a number."), ("Says", "Say it."), ("quiet", "")]
    locate = nn.Predictor("city, year: int -> country", ScriptedModel("x"), name="locate", instructions="Find it.")
    spec = nn.Tool(locate).spec()
    assert (spec.name, spec.description) == ("locate", "Find it.")
    assert spec.parameters["properties"] == {"city": {"type": "string"}, "year": {"type": "integer"}}


def test_a_tool_around_a_tool_keeps_its_name_and_what_it_asks_for():
    inner = nn.Tool(add, name="plus")
    outer = nn.Tool(inner, description="Add more.")
    assert (outer.name, str(outer.description)) == ("plus", "Add more.")
    assert outer.spec().parameters == inner.spec().parameters
    assert answer_of(outer, '{"a": 1, "b": 2}') == "3"


def test_a_tool_called_directly_takes_the_functions_own_arguments(door):
    async def main():
        assert await door(nn.Tool(returning([1])), *()) == [1]
        assert await door(nn.Tool(Doubles()), 4) == await door(nn.Tool(Doubles()), number=4) == 8

    asyncio.run(main())


@pytest.mark.parametrize("tool", [5, "search", len, lambda: 1, nn.Sequential()])
def test_what_has_no_schema_is_refused(tool):
    with pytest.raises(SchemaError):
        nn.Agent("a", ScriptedModel("x"), tools=[tool])


# --- results ----------------------------------------------------------------------------------------------------------


class Shape(BaseModel):
    sides: int


class Colour(str, enum.Enum):  # noqa: UP042  # a StrEnum's str() is its value; this one's is not
    RED = "red"


RING = []
RING.append(RING)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (0, "0"),
        (False, "false"),
        ("", ""),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        (0.1, "0.1"),
        (float("nan"), "NaN"),
        ([float("inf"), None], '["Infinity",null]'),
        (b"abc", '"abc"'),
        (b"\xff", "b'\\xff'"),
        (Shape(sides=3), '{"sides":3}'),
        ({"a": Shape(sides=3), 2: {1}}, '{"a":{"sides":3},"2":[1]}'),
        (Colour.RED, "red"),
        ([Colour.RED], '["red"]'),
        ("{{ name }} {% x %}", "{{ name }} {% x %}"),
        ("é\x00" * 500_000, "é\x00" * 500_000),
        (KeyError("x"), "\"'x'\""),
        (RING, "[[...]]"),
        (["\ud800"], "['\\ud800']"),
        (iter("ab"), '["a","b"]'),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_every_result_is_answered_in_text_falsy_ones_too(result, text):
    assert answer_of(returning(result)) == text


def test_an_object_that_json_cannot_express_is_shown_as_its_text():
    class Odd:
        def __str__(self):
            return "an odd thing"

    assert answer_of(returning([Odd()])) == '["an odd thing"]'


def test_a_result_that_cannot_even_be_shown_is_a_tool_error():
    class Mute:
        def __str__(self):
            raise ValueError("no words")

    for result in (Mute(), 10**5000):
        with pytest.raises(ToolError, match="the tool 'tool' raised ValueError"):
            answer_of(returning(result))


@pytest.mark.parametrize("content", [False, True])
def test_what_a_generator_yields_is_the_result_and_what_it_raises_is_a_tool_error(content):
    def counts():
        yield from (1, 2)

    async def acounts():
        yield 1
        await asyncio.sleep(0)
        yield 2

    def breaks():
        yield 1
        raise KeyError("x")

    with mf.trace.configure(exporter="memory", content=content):
        assert answer_of(counts) == answer_of(acounts) == "[1,2]"
        with pytest.raises(ToolError, match="raised KeyError"):
            answer_of(breaks)


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_on_a_tool_see_the_bound_arguments_and_may_change_them_and_the_result():
    tool, seen = nn.Tool(add), []
    tool.register_forward_pre_hook(lambda module, args, kwargs: seen.append((args, dict(kwargs))))
    tool.register_forward_pre_hook(lambda module, args, kwargs: ((kwargs["a"] * 10,), {"b": 1}))
    tool.register_forward_hook(lambda module, args, kwargs, output: [output])
    assert answer_of(tool, '{"a": 4}') == "[41]" and seen == [((), {"a": 4})]


def test_hooks_do_not_see_arguments_that_do_not_fit():
    tool, seen = nn.Tool(add), []
    tool.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs["a"]))
    assert "a: missing" in answer_of(tool) and seen == []


def test_a_hook_may_refuse_a_call_in_words_for_the_model():
    def refuse(module, args, kwargs):
        raise ToolArgumentsError("not in the evening", tool="add", arguments=kwargs)

    tool = nn.Tool(add)
    tool.register_forward_pre_hook(refuse)
    assert answer_of(tool, '{"a": 1}') == "Error: not in the evening"
