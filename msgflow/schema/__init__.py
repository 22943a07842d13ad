"""Types as models see them: signatures, answers and tools, with their JSON Schemas.

pydantic is imported when the first schema is made, not before.
"""

from msgflow.schema.functions import FunctionSchema, describe
from msgflow.schema.json_schema import json_schema_of
from msgflow.schema.output_type import OutputType
from msgflow.schema.signature import (
    Field,
    InputField,
    OutputField,
    Signature,
    SignatureSpec,
    parse_signature,
    signature_of,
)

__all__ = [
    "Field",
    "FunctionSchema",
    "InputField",
    "OutputField",
    "OutputType",
    "Signature",
    "SignatureSpec",
    "describe",
    "json_schema_of",
    "parse_signature",
    "signature_of",
]
