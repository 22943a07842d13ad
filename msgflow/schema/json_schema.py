"""JSON Schemas as providers take them, from the ones that pydantic makes."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msgflow._frozen import FrozenDict, freeze
from msgflow.errors import SchemaError

# What these hold is values or names, not schemas.
DATA = {"enum", "const", "default", "examples", "required", "type"}
NAMED_SCHEMAS = {"properties", "patternProperties", "$defs"}


def json_schema_of(type_: Any) -> FrozenDict:
    """The JSON Schema of a type, in the strict form: see `strict`. Raises SchemaError where it has none."""
    frozen: FrozenDict = freeze(strict(pydantic_schema(adapter_of(type_), shown(type_))), "schema")
    return frozen


def adapter_of(type_: Any) -> Any:
    """A pydantic TypeAdapter. Raises SchemaError where pydantic cannot check values of the type."""
    import pydantic

    with schema_errors(shown(type_)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydantic.TypeAdapter(type_)


def pydantic_schema(adapter: Any, name: str) -> dict[str, Any]:
    """The schema as pydantic makes it, never a mere reference. Raises SchemaError, with the name, where it has none."""
    import pydantic

    with schema_errors(name), warnings.catch_warnings():
        # A default that is no JSON value is left out, and that is what is wanted.
        warnings.simplefilter("ignore", pydantic.json_schema.PydanticJsonSchemaWarning)
        schema: dict[str, Any] = adapter.json_schema()
    if "$ref" in schema:  # a type that contains itself
        return {**schema["$defs"][_referred(schema)], "$defs": schema["$defs"]}
    return schema


@contextmanager
def schema_errors(name: str) -> Iterator[None]:
    """Turn what pydantic raises for a type it cannot describe into a SchemaError."""
    import pydantic

    try:
        yield
    except (pydantic.errors.PydanticUserError, NameError, TypeError, RecursionError) as error:
        # Only the first line: pydantic adds a paragraph and a link.
        reason = str(error).partition("\n")[0]
        raise SchemaError(f"{name} has no JSON Schema that pydantic can make and check: {reason}") from error


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The form that OpenAI calls strict: objects are closed and all their properties required.

    Titles and defaults are gone, `oneOf` is `anyOf`, and a reference stands alone.
    Source: the "Structured outputs" guide of the OpenAI API, "Supported schemas".
    """
    return _strict(schema, schema.get("$defs", {}), ())


def _strict(node: dict[str, Any], definitions: dict[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    if "$ref" in node and len(node) > 1:
        # A description beside a reference: the definition itself takes it up, once; inside of itself it goes.
        name = _referred(node)
        if name in inside:
            return {"$ref": node["$ref"]}
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _strict({**definitions[name], **beside}, definitions, (*inside, name))
    kept = {
        "anyOf" if key == "oneOf" else key: value
        for key, value in node.items()
        if key not in ("title", "default", "discriminator")
    }
    result = _with_parts(kept, lambda part: _strict(part, definitions, inside))
    if "properties" in result:
        result["required"] = list(result["properties"])
        result.setdefault("additionalProperties", False)
    return result


def untitled(node: dict[str, Any]) -> dict[str, Any]:
    """The schema without titles: pydantic makes them from names, which are there already."""
    return _with_parts({key: value for key, value in node.items() if key != "title"}, untitled)


def _with_parts(node: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The schema with every schema right inside of it changed."""
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in NAMED_SCHEMAS:
            result[key] = {name: change(part) for name, part in value.items()}
        elif isinstance(value, dict) and key not in DATA:
            result[key] = change(value)
        elif isinstance(value, list) and key not in DATA:
            result[key] = [change(part) for part in value]
        else:
            result[key] = value
    return result


def shown(type_: Any) -> str:
    return type_.__name__ if isinstance(type_, type) else repr(type_)


def _referred(node: dict[str, Any]) -> str:
    reference: str = node["$ref"]
    return reference.rpartition("/")[2]
