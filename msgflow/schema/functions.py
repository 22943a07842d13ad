"""Python functions as tools: their JSON Schema, and a model's arguments as real objects."""

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from msgflow._frozen import FrozenDict, freeze, non_finite
from msgflow.errors import SchemaError, ToolArgumentsError
from msgflow.schema.annotations import annotations_of
from msgflow.schema.faults import faults_of, shortened
from msgflow.schema.json_schema import adapter_of, pydantic_schema, schema_errors, untitled

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class FunctionSchema:
    """A function as a model sees it. `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: FrozenDict
    _arguments: Any = field(repr=False, compare=False)

    def bind(self, arguments_json: str) -> dict[str, Any]:
        """Keyword arguments for the function from the JSON text that a model wrote; empty text is no arguments.

        What the model left out is left out here, too: the function has its own defaults.
        Raises ToolArgumentsError that names every bad, missing and unexpected argument.
        """
        import pydantic

        try:
            bound = self._arguments.__pydantic_validator__.validate_json(arguments_json.strip() or "{}")
        except pydantic.ValidationError as error:
            faults = faults_of(error)
        else:
            fields = self._arguments.model_fields
            given = {fields[key].alias: value for key, value in bound.__dict__.items() if key in bound.model_fields_set}
            return given | (bound.model_extra or {})
        raise ToolArgumentsError(
            f"{self.name} cannot be called with {shortened(arguments_json)!r}:\n"
            + "".join(f"  {fault}\n" for fault in faults)
            + f"Call it with one JSON object of its arguments: {self._usage()}.",
            tool=self.name,
            arguments=arguments_json,
        )

    def _usage(self) -> str:
        required = self.parameters["required"]
        names = [name if name in required else f"{name} (optional)" for name in self.parameters["properties"]]
        return ", ".join(names) or "it takes none, {}"


def describe(function: Callable[..., Any], *, name: str = "") -> FunctionSchema:
    """The schema of a function, a bound method, a callable object or a partial; make it once and keep it.

    Descriptions are read from the docstring (Google, NumPy, Sphinx); `name` is needed where the function has none of
    its own. What a partial holds already is not asked for.
    Raises SchemaError for what has no schema: positional-only parameters, `*args`, a lambda, an annotation that cannot
    be found or that JSON cannot express.
    """
    if not callable(function):
        raise SchemaError(f"a tool is a function, not a {type(function).__name__}")
    target, held = _target(function)
    name = name or _name(target)
    if not NAME.fullmatch(name):
        raise SchemaError(
            f"{name!r} cannot be the name of a tool: providers take 1 to 64 letters, digits, _ and -; "
            "write a def with such a name, or give name="
        )
    parameters = _parameters(function, name, held)
    summary, descriptions = _docstring(_document(target))
    hints = annotations_of(_annotated(target), name)
    for key, parameter in parameters.items():
        # A type that a decorator put into the signature is in no annotation.
        hints.setdefault(key, Any if parameter.annotation is parameter.empty else parameter.annotation)
    model = _model(name, parameters, hints, descriptions, closed=bool(held))
    return FunctionSchema(name, summary, _schema(name, model, parameters), model)


def _target(function: Callable[..., Any]) -> tuple[Callable[..., Any], set[str]]:
    """What a partial calls in the end, and the keywords that it holds already."""
    held: set[str] = set()
    while isinstance(function, partial):
        held |= function.keywords.keys()
        function = function.func
    return function, held


def _name(target: Callable[..., Any]) -> str:
    name = getattr(target, "__name__", None) or type(target).__name__
    if name == "<lambda>":
        raise SchemaError("a lambda has no name that a model could call it by; write a def, or give name=")
    return str(name)


def _annotated(target: Callable[..., Any]) -> Callable[..., Any]:
    """The function that carries the annotations."""
    if isinstance(target, type):
        target = vars(target).get("__init__", target)
    elif not inspect.isroutine(inspect.unwrap(target)):
        target = type(target).__call__
    target = inspect.unwrap(target)
    return getattr(target, "__func__", target)


def _document(target: Callable[..., Any]) -> str:
    is_object = not inspect.isroutine(inspect.unwrap(target)) and not isinstance(target, type)
    own = type(target).__call__.__doc__ if is_object else None
    return inspect.cleandoc(own) if own else inspect.getdoc(target) or ""


def _parameters(function: Callable[..., Any], name: str, held: set[str]) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"{name}: its parameters cannot be found out: {error}; wrap it in a def") from None
    refused = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    for parameter in signature.parameters.values():
        if parameter.kind in refused:
            raise SchemaError(
                f"{name}: the parameter {parameter} is positional, and models give arguments by name; "
                "make it a named one"
            )
    return {key: parameter for key, parameter in signature.parameters.items() if key not in held}


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """The summary (the first paragraph, in one line) and the descriptions of parameters by their names."""
    import docstring_parser

    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return _first_paragraph(text), {}
    descriptions = {part.arg_name: " ".join((part.description or "").split()) for part in parsed.params}
    return _first_paragraph(parsed.description or ""), descriptions


def _first_paragraph(text: str) -> str:
    return " ".join(re.split(r"\n\s*\n", text.strip(), maxsplit=1)[0].split())


def _model(
    name: str,
    parameters: dict[str, inspect.Parameter],
    hints: dict[str, Any],
    descriptions: dict[str, str],
    *,
    closed: bool,
) -> Any:
    """The pydantic model that checks the arguments; `closed` refuses extra ones even where the function has **kwargs.

    A parameter may have any name, a field of a model may not, and so the parameter's name is an alias.
    """
    import pydantic

    fields: dict[str, Any] = {}
    extra: Literal["allow", "forbid"] = "forbid"
    with schema_errors(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, parameter in parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                # Through **kwargs a model could replace what a partial holds.
                extra = "forbid" if closed else "allow"
                continue
            # Many write `unit: str = None`, and models send null for what they leave out.
            hint = hints[key] | None if parameter.default is None else hints[key]
            options: dict[str, Any] = {"alias": key, "default": ... if parameter.default is parameter.empty else None}
            if descriptions.get(key):  # without one here, one in an Annotated[...] counts
                options["description"] = descriptions[key]
            fields[f"p{len(fields)}"] = (hint, pydantic.Field(**options))
        return pydantic.create_model(name, __config__=pydantic.ConfigDict(extra=extra), **fields)


def _schema(name: str, model: Any, parameters: dict[str, inspect.Parameter]) -> FrozenDict:
    schema = untitled(pydantic_schema(adapter_of(model), name))
    schema.pop("description", None)
    schema.setdefault("required", [])
    for key, part in schema["properties"].items():
        part.pop("default", None)
        default = parameters[key].default
        if default is not inspect.Parameter.empty:
            part |= _json_default(default)
    frozen: FrozenDict = freeze(schema, "parameters")
    return frozen


def _json_default(default: Any) -> dict[str, Any]:
    """The default as a part of a schema; nothing where it is no JSON value."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        value = to_jsonable_python(default)
    except (PydanticSerializationError, ValueError):
        return {}
    return {} if any(non_finite(value, "default")) else {"default": value}
