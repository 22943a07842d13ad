"""Functions as tools: what the model reads about them, and its arguments as real objects."""

from __future__ import annotations

import asyncio
import functools
import math
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal

import docstring_parser
import pydantic
import pytest

from msgflow.errors import SchemaError, ToolArgumentsError
from msgflow.schema import describe


class Unit(Enum):
    CELSIUS = "c"
    KELVIN = "k"


class Place(pydantic.BaseModel):
    """A place on Earth."""

    city: str
    country: str = "FR"


def weather(place: Place, when: datetime, unit: Unit = Unit.CELSIUS, days: int = 1) -> str:
    """Look up the weather
    of a place.

    It is a forecast.

    Args:
        place: where,
            on Earth
        when: the hour
    """
    return f"{place.city} {when.hour} {unit.name} {days}"


def test_a_function_is_described_by_its_name_docstring_and_annotations():
    schema = describe(weather)
    assert (schema.name, schema.description) == ("weather", "Look up the weather of a place.")
    parameters = schema.parameters
    assert parameters["type"] == "object" and parameters["additionalProperties"] is False
    assert parameters["required"] == ["place", "when"]
    assert parameters["properties"] == {
        "place": {"$ref": "#/$defs/Place", "description": "where, on Earth"},
        "when": {"type": "string", "format": "date-time", "description": "the hour"},
        "unit": {"$ref": "#/$defs/Unit", "default": "c"},
        "days": {"type": "integer", "default": 1},
    }
    assert parameters["$defs"]["Place"]["description"] == "A place on Earth."
    assert "_arguments" not in repr(schema) and hash(schema.parameters)


def test_arguments_arrive_as_real_objects_and_what_was_left_out_stays_out():
    bound = describe(weather).bind('{"place": {"city": "Nice"}, "when": "2026-01-01T09:00:00", "unit": "k"}')
    assert bound == {"place": Place(city="Nice"), "when": datetime(2026, 1, 1, 9), "unit": Unit.KELVIN}
    assert weather(**bound) == "Nice 9 KELVIN 1"


GOOGLE = "Do.\n\nArgs:\n    a (int): the first\n    b: the second\n"
NUMPY = "Do.\n\nParameters\n----------\na : int\n    the first\nb : int\n    the second\n"
SPHINX = "Do.\n\n:param a: the first\n:param int b: the second\n"


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX])
def test_docstrings_of_three_styles_describe_the_parameters(text):
    def do(a: int, b: int) -> None: ...

    do.__doc__ = text
    schema = describe(do)
    assert schema.description == "Do."
    assert [part["description"] for part in schema.parameters["properties"].values()] == ["the first", "the second"]


def test_a_docstring_that_cannot_be_parsed_is_a_summary_still(monkeypatch):
    def fail(text):
        raise docstring_parser.ParseError("odd")

    monkeypatch.setattr(docstring_parser, "parse", fail)
    assert describe(weather).description == "Look up the weather of a place."


def test_a_description_in_the_annotation_counts():
    def find(query: Annotated[str, pydantic.Field(description="words", max_length=5)]) -> None: ...

    schema = describe(find)
    assert schema.description == ""
    assert schema.parameters["properties"]["query"] == {"type": "string", "description": "words", "maxLength": 5}
    with pytest.raises(ToolArgumentsError, match=r"query: .*at most 5"):
        schema.bind('{"query": "too long"}')


class Counter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.start = start

    def add(self, amount: int) -> int:
        """Add to it."""
        return self.start + amount

    @classmethod
    def make(cls, start: int) -> Counter:
        return cls(start)

    @staticmethod
    def double(amount: int) -> int:
        return 2 * amount


class Multiply:
    """Multiplies."""

    def __call__(self, a: int, b: int = 2) -> int:
        return a * b


class Documented:
    async def __call__(self, when: datetime) -> None:
        """Wait until then."""


async def fetch(url: str) -> str:
    """Fetch a page."""
    return url


@functools.wraps(fetch)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return fetch(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "name", "description", "arguments"),
    [
        (fetch, "fetch", "Fetch a page.", {"url": "string"}),
        (wrapped, "fetch", "Fetch a page.", {"url": "string"}),
        (functools.lru_cache(Counter.double), "double", "", {"amount": "integer"}),
        (Counter().add, "add", "Add to it.", {"amount": "integer"}),
        (Counter.make, "make", "", {"start": "integer"}),
        (Counter, "Counter", "Counts.", {"start": "integer"}),
        (Place, "Place", "A place on Earth.", {"city": "string", "country": "string"}),
        (Multiply(), "Multiply", "Multiplies.", {"a": "integer", "b": "integer"}),
        (Documented(), "Documented", "Wait until then.", {"when": "string"}),
    ],
)
def test_anything_that_can_be_called_can_be_described(function, name, description, arguments):
    schema = describe(function)
    assert (schema.name, schema.description) == (name, description)
    assert {key: part["type"] for key, part in schema.parameters["properties"].items()} == arguments


def test_a_bound_call_of_an_async_function_works():
    assert asyncio.run(fetch(**describe(fetch).bind('{"url": "x"}'))) == "x"


def test_what_a_partial_holds_is_not_asked_for_and_cannot_be_replaced():
    def query(table: str, limit: int, *, secret: str, **rest: Any) -> None:
        """Query a table."""

    tool = functools.partial(functools.partial(query, "users"), secret="hidden")
    schema = describe(tool)
    assert (schema.name, schema.description) == ("query", "Query a table.")
    assert list(schema.parameters["properties"]) == ["limit"]
    assert schema.bind('{"limit": 3}') == {"limit": 3}
    with pytest.raises(ToolArgumentsError, match="secret: unexpected"):
        schema.bind('{"limit": 3, "secret": "mine"}')


def test_extra_arguments_are_accepted_where_the_function_takes_them():
    def log(message: str, **fields: Any) -> None: ...

    schema = describe(log)
    assert schema.parameters["additionalProperties"] is True and list(schema.parameters["properties"]) == ["message"]
    assert schema.bind('{"message": "hi", "p0": 1, "x": [2]}') == {"message": "hi", "p0": 1, "x": [2]}


def test_a_parameter_may_have_any_name_and_no_annotation():
    def odd(json, schema: int, model_config: str, _private: bool, self_: float, copy=None): ...

    schema = describe(odd)
    text = '{"json": [1], "schema": 2, "model_config": "x", "_private": true, "self_": 0.5}'
    assert schema.bind(text) == {"json": [1], "schema": 2, "model_config": "x", "_private": True, "self_": 0.5}
    assert schema.parameters["properties"]["json"] == {}


def test_null_is_taken_where_the_default_is_none():
    def find(name: str = None) -> None: ...  # noqa: RUF013 - many write it so

    assert describe(find).bind('{"name": null}') == {"name": None}
    assert describe(find).parameters["properties"]["name"]["default"] is None


def test_a_default_that_is_no_json_value_is_not_shown():
    def call(a: Any = object(), b: float = math.nan, c: float = 0.5, d: Any = b"\xff", e: list[int] = [1]) -> None: ...  # noqa: B006, B008 - defaults are what is tested

    parts = describe(call).parameters["properties"]
    assert {key: part["default"] for key, part in parts.items() if "default" in part} == {"c": 0.5, "e": [1]}


@pytest.mark.parametrize("text", ["", "  ", "{}"])
def test_empty_text_is_no_arguments(text):
    def now() -> None: ...

    assert describe(now).bind(text) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '{"days": "many", "colour": 1}',
            'place: missing\n  when: missing\n  days: .*integer.*"many"\n  colour: unexpected',
        ),
        ("", "place: missing"),
        ("[1]", r"object, not \[1\]"),
        ('{"place": {"city": "N', "Invalid JSON"),
        ('{"place": {}, "when": "soon"}', r"place\.city: missing\n  when: .*datetime.*\"soon\""),
        ('{"place": "\ud800"}', "unicode"),
        ('{"' + "x" * 10_000, "Invalid JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_all_named(text, says):
    with pytest.raises(ToolArgumentsError, match=says) as caught:
        describe(weather).bind(text)
    error = caught.value
    assert (error.tool, error.arguments) == ("weather", text) and len(str(error)) < 2_000
    assert "place, when, unit (optional), days (optional)" in str(error)


def test_a_tool_without_parameters_says_so():
    def now() -> None: ...

    with pytest.raises(ToolArgumentsError, match="it takes none"):
        describe(now).bind('{"zone": 1}')


def positional(a: int, /) -> None: ...


def starred(*names: str) -> None: ...


@pytest.mark.parametrize("function", [positional, starred, len, print])
def test_positional_parameters_are_refused_by_the_name_of_the_function(function):
    with pytest.raises(SchemaError, match=f"{function.__name__}: the parameter"):
        describe(function)


def test_a_builtin_without_a_signature_is_refused():
    with pytest.raises(SchemaError, match="max: its parameters cannot be found out"):
        describe(max)


def test_a_lambda_needs_a_name():
    with pytest.raises(SchemaError, match="lambda has no name"):
        describe(lambda x: x)
    assert describe(lambda x: x, name="identity").bind('{"x": 1}') == {"x": 1}


@pytest.mark.parametrize("name", ["two words", "x" * 65, "gr\u00fcn", "a.b"])
def test_a_name_that_providers_refuse_is_refused(name):
    with pytest.raises(SchemaError, match="cannot be the name of a tool"):
        describe(fetch, name=name)


@pytest.mark.parametrize("value", [5, None, "weather"])
def test_what_cannot_be_called_is_refused(value):
    with pytest.raises(SchemaError, match="a tool is a function"):
        describe(value)


def test_annotations_may_name_types_local_to_the_running_function():
    class Local(pydantic.BaseModel):
        x: int

    def use(item: Local, more: list[Local]) -> None: ...

    bound = describe(use).bind('{"item": {"x": 1}, "more": []}')
    assert bound == {"item": Local(x=1), "more": []}


def test_annotations_may_name_types_that_the_function_closes_over():
    def make():
        class Local(Enum):
            ONE = 1

        def use(item: Local) -> Any:
            return item is Local.ONE, later

        schema = describe  # described below, when `make` runs no more
        later = schema
        return use

    use = make()
    assert use(**describe(use).bind('{"item": 1}'))[0]


def test_a_variable_without_a_value_yet_does_not_matter():
    def use(item: int) -> Any:
        return later

    schema = describe(use)
    later = 1
    assert use(**schema.bind('{"item": 1}')) == later


def test_an_annotation_that_cannot_be_found_is_named_with_the_function():
    def make():
        class Local:
            pass

        def use(item: Local) -> None: ...

        return use

    with pytest.raises(SchemaError, match="use: the annotation 'Local' cannot be found"):
        describe(make())


def test_an_annotation_that_cannot_be_evaluated_is_refused():
    def use(item: 1 / 0) -> None: ...

    with pytest.raises(SchemaError, match=r"use: .*ZeroDivisionError"):
        describe(use)


class Opaque:
    pass


def test_a_type_that_json_cannot_express_is_refused_with_the_function():
    def use(item: Opaque) -> None: ...

    def call(back: type[Any]) -> None: ...

    with pytest.raises(SchemaError, match=r"use has no JSON Schema.*Opaque"):
        describe(use)
    with pytest.raises(SchemaError, match="call has no JSON Schema"):
        describe(call)


def test_choices_are_an_enum():
    def pick(mode: Literal["fast", "slow"]) -> None: ...

    assert describe(pick).parameters["properties"]["mode"]["enum"] == ["fast", "slow"]


def test_a_type_that_only_the_signature_knows_is_used():
    def call(**kwargs: Any) -> None: ...

    import inspect

    parameter = inspect.Parameter("n", inspect.Parameter.KEYWORD_ONLY, annotation=int)
    call.__signature__ = inspect.Signature([parameter])
    assert describe(call).parameters["properties"] == {"n": {"type": "integer"}}
