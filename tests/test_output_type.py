"""Output types: the schema that a provider gets, and answers as values."""

import json
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
import pytest
from typing_extensions import TypedDict

from msgflow.errors import OutputError, SchemaError
from msgflow.schema import InputField, OutputField, OutputType, Signature, json_schema_of, signature_of


class Colour(Enum):
    RED = "red"


class Address(pydantic.BaseModel):
    """Where someone lives."""

    street: str
    number: int = 1


class Person(pydantic.BaseModel):
    name: Annotated[str, pydantic.Field(title="Full name", description="in full")]
    home: Address = pydantic.Field(description="the main one")
    title: str | None = None
    children: list["Person"] = []


@dataclass
class Point:
    x: float
    y: float


class Movie(TypedDict):
    title: str
    year: int


def closed(schema):
    """Every object of a schema that has properties is closed and requires them all, as OpenAI's strict mode wants."""
    if isinstance(schema, list):
        return all(map(closed, schema))
    if not isinstance(schema, dict):
        return True
    fine = "properties" not in schema or (
        schema["additionalProperties"] is False and schema["required"] == list(schema["properties"])
    )
    return fine and all(map(closed, schema.values()))


def test_text_has_no_schema_and_comes_back_as_it_is():
    output = OutputType(str)
    assert output.schema is None and output.name == "str" and repr(output) == "OutputType(str)"
    assert output.parse(' ```json\n{"a": 1}\n``` ') == ' ```json\n{"a": 1}\n``` '


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (Address, '{"street": "Main", "number": 5}', Address(street="Main", number=5)),
        (Point, '{"x": 1, "y": 2.5}', Point(1.0, 2.5)),
        (Movie, '{"title": "M", "year": 1931}', {"title": "M", "year": 1931}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (float, '{"value": 1.5}', 1.5),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Colour, '{"value": "red"}', Colour.RED),
        (Address | None, '{"value": null}', None),
        (Any, '{"value": {"x": [1]}}', {"x": [1]}),
        (pydantic.RootModel[list[int]], '{"value": [1]}', pydantic.RootModel[list[int]]([1])),
    ],
)
def test_any_type_has_a_closed_object_as_its_schema_and_gives_values(type_, text, value):
    output = OutputType(type_)
    assert output.schema["type"] == "object" and closed(output.schema)
    assert output.parse(text) == value
    assert hash(output.schema) == hash(OutputType(type_).schema)


def test_nested_models_and_models_that_contain_themselves_keep_their_definitions():
    schema = OutputType(Person).schema
    assert schema["properties"]["name"] == {"description": "in full", "type": "string"}
    assert schema["properties"]["title"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schema["properties"]["children"] == {"items": {"$ref": "#/$defs/Person"}, "type": "array"}
    # A reference may have nothing beside it, so the description goes into the definition.
    assert schema["properties"]["home"] == {**schema["$defs"]["Address"], "description": "the main one"}
    assert closed(schema) and '"title": "' not in json.dumps(schema)


def test_a_description_beside_a_reference_to_a_type_within_itself_goes():
    class Node(pydantic.BaseModel):
        next: "Node | None" = None
        other: "Node" = pydantic.Field(description="another")

    schema = OutputType(Node).schema
    assert schema["properties"]["other"]["description"] == "another"
    assert schema["properties"]["other"]["properties"]["other"] == {"$ref": "#/$defs/Node"}


def test_a_union_told_apart_by_a_tag_is_any_of():
    class Cat(pydantic.BaseModel):
        kind: Literal["cat"]

    class Dog(pydantic.BaseModel):
        kind: Literal["dog"]

    output = OutputType(Annotated[Cat | Dog, pydantic.Field(discriminator="kind")])
    assert "oneOf" not in json.dumps(output.schema) and "discriminator" not in json.dumps(output.schema)
    assert output.parse('{"value": {"kind": "dog"}}') == Dog(kind="dog")


def test_json_schema_of_a_type_is_not_wrapped():
    assert json_schema_of(list[int]) == {"items": {"type": "integer"}, "type": "array"}


class Review(Signature):
    """Review the film."""

    film: str = InputField()
    score: float = OutputField("from 0 to 10")
    json: list[str] = OutputField()


def test_the_outputs_of_a_signature_are_the_fields_of_the_answer():
    for form in (Review, signature_of(Review)):
        output = OutputType(form)
        assert output.name == "Review" and output.schema["properties"] == {
            "score": {"description": "from 0 to 10", "type": "number"},
            "json": {"items": {"type": "string"}, "type": "array"},
        }
        answer = output.parse('{"score": 7, "json": ["a"]}')
        assert (answer.score, answer.json) == (7.0, ["a"])


@pytest.mark.parametrize(
    ("type_", "name"),
    [(list[int], "output"), (Literal["a"], "output"), (Address, "Address"), (float, "float")],
)
def test_a_name_fits_what_providers_take(type_, name):
    assert OutputType(type_).name == name
    generic = type("B\u00f6x[int] " * 20, (pydantic.BaseModel,), {})
    assert OutputType(generic).name.isascii() and len(OutputType(generic).name) <= 64


@pytest.mark.parametrize(
    "text",
    [
        ' \n{"value": [1]}\n',
        '```json\n{"value": [1]}\n```',
        '```\n{"value": [1]}```\n',
        'Here it is:\n```json\n{"value": [1]}\n```\nGood luck!',
        "[1]",
        "```json\n[1]\n```",
    ],
)
def test_space_a_fence_and_a_bare_value_are_accepted(text):
    assert OutputType(list[int]).parse(text) == [1]


def test_a_fence_inside_of_a_string_is_text():
    output = OutputType(Literal["```x```"])
    assert output.parse('{"value": "```x```"}') == output.parse('"```x```"') == "```x```"
    assert output.parse('```json\n{"value": "```x```"}\n```') == "```x```"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Invalid JSON"),
        ("I cannot help", "Invalid JSON"),
        ('{"street": "Ma', "Invalid JSON"),
        ("[" * 10_000, "Invalid JSON"),
        ('```\n{"street": "a"}\n```\n```\n{"street": "b"}\n```', "Invalid JSON"),
        ("[]", r"Input should be an object, not \[\]"),
        ("{}", "street: missing"),
        ('{"street": 5, "number": "x"}', 'street: .*string, not 5\n  number: .*integer.* not "x"'),
        ('{"street": "\ud800"}', "unicode"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_what_came_and_what_was_expected(text, says):
    with pytest.raises(OutputError, match=says) as caught:
        OutputType(Address).parse(text)
    message = str(caught.value)
    assert caught.value.text == text and len(message) < 3_000
    assert "does not fit Address" in message and '"street"' in message and "Answer with that object alone" in message


def test_of_very_many_faults_the_first_are_named():
    with pytest.raises(OutputError, match=r"(?s)value\.9: .*and 90 more"):
        OutputType(list[int]).parse(json.dumps({"value": ["x"] * 100}))


class Opaque:
    pass


@pytest.mark.parametrize("type_", [Opaque, list[Opaque], 5, "Undefined", type(lambda: 1)])
def test_a_type_without_a_json_schema_is_refused(type_):
    with pytest.raises(SchemaError, match="no JSON Schema"):
        OutputType(type_)
    with pytest.raises(SchemaError, match="no JSON Schema"):
        json_schema_of(type_)


def test_a_signature_with_an_output_that_has_no_json_schema_is_refused():
    class Odd(Signature):
        answer: Opaque = OutputField()

    with pytest.raises(SchemaError, match="Odd has no JSON Schema"):
        OutputType(Odd)


def test_importing_the_room_imports_no_pydantic():
    code = "import sys, msgflow.schema; msgflow.schema.parse_signature('a -> b'); assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
