"""What goes into a model call and what comes out, as a string or as a class.

"question, context: list[str] -> answer: float"

class Translate(Signature):
    \"""Translate the text.\"""
    text: str = InputField("source text")
    translation: str = OutputField("the text in English")
"""

import inspect
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn, get_origin

from msgflow.errors import SchemaError
from msgflow.schema.annotations import annotations_of
from msgflow.schema.type_text import parse_type

MAX_CHARACTERS = 10_000
EXAMPLE = "write it as 'question, context: list[str] -> answer: float'"
TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|->|.""", re.DOTALL)
DEPTH = {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}


@dataclass(frozen=True, slots=True)
class Field:
    """One named value that goes in or comes out."""

    name: str
    type: Any = str
    description: str = ""


@dataclass(frozen=True, slots=True)
class SignatureSpec:
    """A signature, whichever way it was written."""

    name: str
    instructions: str
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class _Declared:
    output: bool
    description: str


def InputField(description: str = "") -> Any:
    """A value that a Signature class takes."""
    return _Declared(False, description)


def OutputField(description: str = "") -> Any:
    """A value that a Signature class gives."""
    return _Declared(True, description)


class Signature:
    """A signature as a class: its docstring is the instructions, its attributes are the fields.

    Subclasses inherit the fields, in order, and may declare them anew. There are no instances.
    """

    def __new__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(f"{cls.__name__} is used as a class: give {cls.__name__} itself, without calling it")


def signature_of(signature: str | type[Signature] | SignatureSpec) -> SignatureSpec:
    """The signature in a string, a Signature class, or one that has been read already. Raises SchemaError."""
    if isinstance(signature, SignatureSpec):
        return signature
    if isinstance(signature, str):
        return parse_signature(signature)
    if isinstance(signature, type) and issubclass(signature, Signature):
        return _from_class(signature)
    raise SchemaError(f"a signature is text or a Signature class, not a {type(signature).__name__}; {EXAMPLE}")


def parse_signature(text: str) -> SignatureSpec:
    """Read `"name: type, ... -> name: type, ..."`; a field without a type is text.

    Types: str int float bool list dict tuple set None Any Literal Optional Union, `|` and brackets.
    Raises SchemaError with the text, what is wrong and an example.
    """
    try:
        return _parse(text)
    except SchemaError as error:
        shown = text if len(text) <= 200 else text[:200] + "..."
        raise SchemaError(f"the signature {shown!r} cannot be read: {error}; {EXAMPLE}") from None


def _parse(text: str) -> SignatureSpec:
    if len(text) > MAX_CHARACTERS:
        raise SchemaError(f"it has {len(text)} characters, at most {MAX_CHARACTERS} are read")
    sides = list(_split(text, "->"))
    if len(sides) != 2:
        raise SchemaError("it has no arrow '->'" if len(sides) < 2 else f"it has {len(sides) - 1} arrows, not one")
    before, after = sides
    inputs = tuple(map(_field, _split(before, ","))) if before.strip() else ()
    outputs = tuple(map(_field, _split(after, ","))) if after.strip() else ()
    if not outputs:
        raise SchemaError("there is no output after the arrow")
    seen: set[str] = set()
    for field in inputs + outputs:
        if field.name in seen:
            raise SchemaError(f"the name {field.name!r} is there twice")
        seen.add(field.name)
    return SignatureSpec("signature", "", inputs, outputs)


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that stand outside of brackets and quotes."""
    start = depth = 0
    for token in TOKEN.finditer(text):
        depth += DEPTH.get(token[0], 0)
        if token[0] == separator and depth == 0:
            yield text[start : token.start()]
            start = token.end()
    yield text[start:]


def _field(text: str) -> Field:
    name, colon, type_text = text.partition(":")
    name = name.strip()
    if not name:
        raise SchemaError("a field has no name: a comma too many")
    _check_name(name)
    return Field(name, parse_type(type_text) if colon else str)


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise SchemaError(f"{name!r} cannot be the name of a field: use letters, digits and _, and begin with a letter")


def _from_class(cls: type[Signature]) -> SignatureSpec:
    types = annotations_of(cls, cls.__name__)
    declared: dict[str, _Declared] = {}
    bases = [base for base in reversed(cls.__mro__) if issubclass(base, Signature) and base is not Signature]
    for base in bases:
        for name in {**vars(base), **inspect.get_annotations(base)}:
            value = vars(base).get(name)
            if isinstance(value, _Declared):
                _check_name(name)
                declared[name] = value
            elif name in declared or (name in types and get_origin(types[name]) is not ClassVar):
                raise SchemaError(
                    f"{cls.__name__}.{name} is neither an input nor an output; "
                    f'write {name}: ... = InputField("what it is") or OutputField("what it is")'
                )
    fields = [(value.output, Field(name, types.get(name, str), value.description)) for name, value in declared.items()]
    outputs = tuple(field for output, field in fields if output)
    if not outputs:
        raise SchemaError(f'{cls.__name__} has no output; write answer: str = OutputField("what it is")')
    instructions = next((base.__doc__ for base in reversed(bases) if vars(base).get("__doc__")), None)
    inputs = tuple(field for output, field in fields if not output)
    return SignatureSpec(cls.__name__, inspect.cleandoc(instructions or ""), inputs, outputs)
