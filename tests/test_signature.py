"""Signatures: read from strings and classes, hostile text refused and never run."""

from typing import Any, ClassVar, Literal, Optional, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msgflow.errors import SchemaError
from msgflow.schema import Field, InputField, OutputField, Signature, SignatureSpec, parse_signature, signature_of


def output_type(text):
    return parse_signature(f"x -> y: {text}").outputs[0].type


def test_a_string_names_inputs_and_outputs_with_text_as_the_default_type():
    assert parse_signature("question, context: list[str] -> answer: float,tags :list[ str ]") == SignatureSpec(
        "signature",
        "",
        (Field("question"), Field("context", list[str])),
        (Field("answer", float), Field("tags", list[str])),
    )


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("str", str),
        ("Any", Any),
        ("None", None),
        ("dict[str, list[int]]", dict[str, list[int]]),
        ("tuple[int, ...]", tuple[int, ...]),
        ("tuple[int, str]", tuple[int, str]),
        ("set[bool] | None", Optional[set[bool]]),  # noqa: UP045 - the type that the text means
        ("Optional[float]", float | None),
        ("Union[int, str, None]", Union[int, str, None]),  # noqa: UP007 - the same
        ("Literal['a -> b', \"c, d]\", -1, True, None]", Literal["a -> b", "c, d]", -1, True, None]),
        ("list", list),
    ],
)
def test_a_type_may_be_any_of_the_known_ones(text, type_):
    assert output_type(text) == type_


def test_a_signature_may_have_no_input():
    assert parse_signature(" -> joke").inputs == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no arrow"),
        ("question, answer", "no arrow"),
        ("question ->", "no output"),
        ("a -> b -> c", "2 arrows"),
        ("a, a -> b", "'a' is there twice"),
        ("a -> a", "'a' is there twice"),
        ("a,, b -> c", "no name"),
        ("a, -> c", "no name"),
        ("two words -> b", "'two words' cannot be the name"),
        ("class -> b", "'class' cannot be the name"),
        ("_hidden -> b", "'_hidden' cannot be the name"),
        ("a=1 -> b", "'a=1' cannot be the name"),
        ("*args -> b", r"'\*args' cannot be the name"),
        ("a): import os\ndef g(b -> c", "cannot be the name"),
        ("a: Decimal -> b", "'Decimal' is unknown; known are str, int"),
        ("a: typing.Any -> b", "unknown"),
        ("a: __import__('os').system('x') -> b", "unknown"),
        ("a: lambda: 1 -> b", "unknown"),
        ("a: int if 1 else str -> b", "unknown"),
        ("a: list[0] -> b", "'0' is unknown"),
        ("a: int + str -> b", "unknown"),
        ("a: str: int -> b", "is not a type"),
        ("a: list[] -> b", "is not a type"),
        ("a: -> b", "is not a type"),
        ("a: int | -> b", "is not a type"),
        ("a: None | None -> b", "is not a type"),
        ("a: list[str -> b", "no arrow"),
        ("a: \0 -> b", "is not a type"),
        ("a: list[int, str] -> b", "takes 1 type, not 2"),
        ("a: dict[str] -> b", "takes 2 types, not 1"),
        ("a: tuple[..., int] -> b", "unknown"),
        ("a: Literal[1.5] -> b", "'1.5' cannot be in a Literal"),
        ("a: Literal[b'x'] -> b", "cannot be in a Literal"),
        ("a: Literal[x] -> b", "cannot be in a Literal"),
        ("a: Literal[-True] -> b", "cannot be in a Literal"),
        ("a: " + "list[" * 900 + "int" + "]" * 900 + " -> b", "is not a type"),
        ("a: " + "int | " * 1500 + "int -> b", "is not a type"),
        ("x" * 20_000 + " -> b", "20005 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason_and_an_example(text, says):
    with pytest.raises(SchemaError, match=says) as caught:
        parse_signature(text)
    assert "question, context: list[str] -> answer: float" in str(caught.value)
    assert len(str(caught.value)) < 2_000


@given(st.text(st.sampled_from("ab:,->[]|'\"() \\\n1."), max_size=30) | st.text(max_size=20))
@settings(derandomize=True, deadline=None)
def test_any_text_is_read_or_refused_as_a_signature(text):
    try:
        spec = parse_signature(text)
    except SchemaError:
        return
    assert spec.outputs


class Translate(Signature):
    """Translate the text.

    Keep its tone.
    """

    text: str = InputField("source text")
    language: Literal["fr", "de"] = OutputField("the language")
    version: ClassVar[int] = 3


def test_a_class_gives_its_docstring_as_instructions_and_its_fields_in_order():
    assert signature_of(Translate) == SignatureSpec(
        "Translate",
        "Translate the text.\n\nKeep its tone.",
        (Field("text", str, "source text"),),
        (Field("language", Literal["fr", "de"], "the language"),),
    )


def test_a_subclass_inherits_fields_and_instructions_and_may_declare_them_anew():
    class Typed(Translate):
        hint = InputField()
        text: list[str] = InputField("source texts")
        note: "str | None" = OutputField()

    spec = signature_of(Typed)
    assert spec.instructions.startswith("Translate the text.")
    assert spec.inputs == (Field("text", list[str], "source texts"), Field("hint", str))
    assert [field.name for field in spec.outputs] == ["language", "note"] and spec.outputs[1].type == str | None


def test_annotations_in_quotes_may_name_local_types():
    class Local:
        pass

    class Uses(Signature):
        answer: "Local" = OutputField()

    spec = signature_of(Uses)
    assert spec.instructions == "" and spec.outputs[0].type is Local


def test_an_annotation_that_cannot_be_found_is_named():
    class Broken(Signature):
        answer: "Missing" = OutputField()  # noqa: F821 - that is what is tested

    with pytest.raises(SchemaError, match=r"Broken.*'Missing'"):
        signature_of(Broken)


def test_a_class_without_outputs_is_refused():
    class Mute(Signature):
        question: str = InputField()

    with pytest.raises(SchemaError, match="Mute has no output"):
        signature_of(Mute)
    with pytest.raises(SchemaError, match="Signature has no output"):
        signature_of(Signature)


def test_an_attribute_that_is_no_field_is_refused():
    class Bare(Signature):
        question: str
        answer: str = OutputField()

    class Hidden(Translate):
        text = "fixed"

    class Underscore(Signature):
        _answer: str = OutputField()

    with pytest.raises(SchemaError, match=r"Bare\.question is neither"):
        signature_of(Bare)
    with pytest.raises(SchemaError, match=r"Hidden\.text is neither"):
        signature_of(Hidden)
    with pytest.raises(SchemaError, match="'_answer' cannot be the name"):
        signature_of(Underscore)


def test_a_signature_class_has_no_instances():
    with pytest.raises(TypeError, match="give Translate itself"):
        Translate()


def test_any_form_of_a_signature_is_read():
    spec = signature_of("a -> b")
    assert signature_of(spec) is spec and spec == parse_signature("a -> b")


@pytest.mark.parametrize("other", [5, None, int, Signature.__new__])
def test_what_is_no_signature_is_refused(other):
    with pytest.raises(SchemaError, match="text or a Signature class"):
        signature_of(other)
