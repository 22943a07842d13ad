"""What a model has to answer: its JSON Schema, and the answer as a value of the type."""

import json
import re
import warnings
from typing import Any

from msgflow._frozen import FrozenDict, freeze
from msgflow.errors import OutputError
from msgflow.schema.faults import faults_of, shortened
from msgflow.schema.json_schema import adapter_of, pydantic_schema, schema_errors, strict
from msgflow.schema.signature import Signature, SignatureSpec, signature_of

MAX_SCHEMA_SHOWN = 1_000
# From the first fence to the last: an answer may have fences of its own inside its strings.
FENCED = re.compile(r"```[\w+-]*\s*(.*)```", re.DOTALL)


class OutputType:
    """The type of an answer: `str`, or whatever pydantic can check, or the outputs of a signature.

    `schema` is None for text, and otherwise a JSON Schema of an object, as providers require: another type is the one
    property "value" of an object, and `parse` takes it out again. `name` fits `^[a-zA-Z0-9_-]{1,64}$`.
    Raises SchemaError for a type that has no JSON Schema.
    """

    __slots__ = ("_adapter", "_wrapper", "name", "schema", "type")

    def __init__(self, type_: Any) -> None:
        is_signature = isinstance(type_, SignatureSpec) or (isinstance(type_, type) and issubclass(type_, Signature))
        signature = signature_of(type_) if is_signature else None
        self.name = _name(signature.name if signature else type_.__name__ if isinstance(type_, type) else "")
        self.type = _model(signature) if signature else type_
        self.schema: FrozenDict | None = None
        self._adapter = self._wrapper = None
        if self.type is str:
            return
        self._adapter = adapter_of(self.type)
        schema = pydantic_schema(self._adapter, self.name)
        if schema.get("type") != "object":
            self._wrapper = adapter_of(_create_model(self.name, {"value": (self.type, ...)}))
            schema = pydantic_schema(self._wrapper, self.name)
        self.schema = freeze(strict(schema), "schema")

    def __repr__(self) -> str:
        return f"OutputType({self.name})"

    def parse(self, text: str) -> Any:
        """The answer as a value of the type; text as it is.

        JSON may have space around it, or stand in one fenced block. Raises OutputError with what came, what was
        expected and what to do, in words that the model can be given.
        """
        if self._adapter is None:
            return text
        import pydantic

        body = _unfenced(text.strip())
        try:
            if self._wrapper is not None and body.startswith("{"):
                return self._wrapper.validate_json(body).value
            return self._adapter.validate_json(body)
        except pydantic.ValidationError as error:
            faults = faults_of(error)
        raise OutputError(
            f"the answer does not fit {self.name}:\n"
            + "".join(f"  {fault}\n" for fault in faults)
            + f"The answer was: {shortened(text)!r}\n"
            f"Expected is one JSON object that follows the schema "
            f"{shortened(json.dumps(self.schema), MAX_SCHEMA_SHOWN)}\n"
            "Answer with that object alone.",
            text=text,
        )


def _unfenced(text: str) -> str:
    fenced = None if text.startswith(("{", "[", '"')) else FENCED.search(text)
    return fenced[1].strip() if fenced else text


def _name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[:64].strip("_") or "output"


def _model(signature: SignatureSpec) -> Any:
    import pydantic

    fields = {
        field.name: (field.type, pydantic.Field(description=field.description or None)) for field in signature.outputs
    }
    return _create_model(signature.name, fields)


def _create_model(name: str, fields: dict[str, Any]) -> Any:
    import pydantic

    with schema_errors(name), warnings.catch_warnings():
        # A field may be called `json` or `schema`: no one asks the answer for pydantic's own methods.
        warnings.simplefilter("ignore")
        return pydantic.create_model(name, **fields)
