"""Types written as text, such as `list[Literal["a", "b"]] | None`: read by a whitelist, never evaluated."""

import ast
from typing import Any, Literal, Optional, Union

from msgflow.errors import SchemaError

PLAIN: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "Any": Any,
}
# How many types each takes in its brackets.
GENERIC: dict[str, tuple[Any, range]] = {
    "list": (list, range(1, 2)),
    "set": (set, range(1, 2)),
    "dict": (dict, range(2, 3)),
    "tuple": (tuple, range(1, 100)),
    "Optional": (Optional, range(1, 2)),
    "Union": (Union, range(1, 100)),
}
KNOWN = "str, int, float, bool, list, dict, tuple, set, None, Any, Literal, Optional and Union"


def parse_type(text: str) -> Any:
    """The type that the text names. Raises SchemaError with the text, what is wrong with it and what is known."""
    try:
        return _type(ast.parse(text.strip(), mode="eval").body)
    except SchemaError as error:
        raise SchemaError(f"{text.strip()!r} is not a type that a signature can have: {error}") from None
    # ast.parse raises ValueError for null bytes, MemoryError and RecursionError for deep nesting; `None | None` is a
    # TypeError.
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
        shown = repr(text.strip()[:200])
        raise SchemaError(f"{shown} is not a type; write one such as list[str] or float | None") from None


def _type(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name) if name in PLAIN:
            return PLAIN[name]
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=arguments):
            return Literal[tuple(map(_literal, _items(arguments)))]
        case ast.Subscript(value=ast.Name(id=name), slice=arguments) if name in GENERIC:
            return _generic(name, _items(arguments))
    raise SchemaError(f"{ast.unparse(node)!r} is unknown; known are {KNOWN}")


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _generic(name: str, items: list[ast.expr]) -> Any:
    generic, counts = GENERIC[name]
    endless = name == "tuple" and len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...
    if endless:
        return generic[_type(items[0]), ...]
    if len(items) not in counts:
        raise SchemaError(f"{name}[...] takes {counts[0]} type{'s' * (counts[0] > 1)}, not {len(items)}")
    types = tuple(map(_type, items))
    return generic[types if len(types) > 1 else types[0]]


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)) if not isinstance(value, bool):
            return -value
    raise SchemaError(f"{ast.unparse(node)!r} cannot be in a Literal; it holds text, whole numbers, booleans and None")
