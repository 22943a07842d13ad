"""Conditions of flow expressions: trees of values that are asked about a message. No text is ever run as Python.

    user.age >= 18 and "en" in languages       a path reads `message.get("user.age")`: what is missing is None

Operators mean what they mean in Python: comparisons chain, `and` and `or` stop where the answer is known and give back
the value that decided. Nothing is called and no attribute is read; what has no answer raises ExpressionError.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

from msgflow.errors import ExpressionError

LONGEST_SHOWN = 60  # characters of an operand in an error


class Record(Protocol):
    """What conditions are asked about: a Message, or whatever else finds values by dotted keys."""

    def get(self, key: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Environment:
    """What a condition is asked about, and the expression that it is part of, which its errors show."""

    record: Record
    expression: str

    def error(self, problem: str, at: int) -> ExpressionError:
        return error_at(self.expression, at, problem)


def holds(condition: "Condition", record: Record, expression: str) -> bool:
    """Whether a condition is true of a record. Raises ExpressionError where that has no answer."""
    return _truth(condition, Environment(record, expression))[0]


def place(expression: str, at: int) -> tuple[int, int]:
    """Line and column, both from 1, of the character of that offset."""
    return expression.count("\n", 0, at) + 1, at - expression.rfind("\n", 0, at)


def error_at(expression: str, at: int, problem: str) -> ExpressionError:
    """The error that points at the character of that offset."""
    line, column = place(expression, at)
    return ExpressionError(problem, expression=expression, line=line, column=column)


def _truth(condition: "Condition", environment: Environment) -> tuple[bool, Any]:
    """Whether the value of a condition counts as true, and that value."""
    value = condition.evaluate(environment)
    try:
        return bool(value), value
    except Exception as error:  # a numpy array, for one
        raise environment.error(
            f"{_shown(condition)} is {_kind(value)}, which is neither true nor false", condition.at
        ) from error


# `at` is the offset of a node in its expression; `binds` is how tightly its operator does, for the parentheses.


@dataclass(frozen=True, slots=True)
class Constant:
    """None, a boolean, a number or a text."""

    value: bool | int | float | str | None
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 5
    parts: ClassVar[tuple["Condition", ...]] = ()

    def evaluate(self, environment: Environment) -> Any:
        return self.value

    def __str__(self) -> str:
        return quoted(self.value) if isinstance(self.value, str) else repr(self.value)


@dataclass(frozen=True, slots=True)
class Path:
    """The value that the message has under a dotted key; None where it has none."""

    key: str
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 5
    parts: ClassVar[tuple["Condition", ...]] = ()

    def evaluate(self, environment: Environment) -> Any:
        return environment.record.get(self.key)

    def __str__(self) -> str:
        first, *others = self.key.split(".")
        return first + "".join(map(_segment, others))


@dataclass(frozen=True, slots=True)
class Items:
    """A list that is written out: `["draft", "open"]`."""

    items: tuple["Condition", ...]
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 5

    @property
    def parts(self) -> tuple["Condition", ...]:
        return self.items

    def evaluate(self, environment: Environment) -> list[Any]:
        return [item.evaluate(environment) for item in self.items]

    def __str__(self) -> str:
        return f"[{', '.join(_grouped(item, 5) for item in self.items)}]"


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Condition"
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 3

    @property
    def parts(self) -> tuple["Condition", ...]:
        return (self.operand,)

    def evaluate(self, environment: Environment) -> bool:
        return not _truth(self.operand, environment)[0]

    def __str__(self) -> str:
        return f"not {_grouped(self.operand, 3)}"


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple["Condition", ...]
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 2

    @property
    def parts(self) -> tuple["Condition", ...]:
        return self.operands

    def evaluate(self, environment: Environment) -> Any:
        for operand in self.operands[:-1]:
            is_true, value = _truth(operand, environment)
            if not is_true:
                return value
        return self.operands[-1].evaluate(environment)

    def __str__(self) -> str:
        return " and ".join(_grouped(operand, 3) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple["Condition", ...]
    at: int = field(default=0, compare=False, repr=False)
    binds: ClassVar[int] = 1

    @property
    def parts(self) -> tuple["Condition", ...]:
        return self.operands

    def evaluate(self, environment: Environment) -> Any:
        for operand in self.operands[:-1]:
            is_true, value = _truth(operand, environment)
            if is_true:
                return value
        return self.operands[-1].evaluate(environment)

    def __str__(self) -> str:
        return " or ".join(_grouped(operand, 2) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Link:
    """One more operator and operand in a chain of comparisons."""

    operator: str
    operand: "Condition"
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A chain such as `0 < n <= limit`: true where each neighbouring pair is."""

    first: "Condition"
    links: tuple[Link, ...]
    binds: ClassVar[int] = 4

    @property
    def at(self) -> int:
        return self.first.at

    @property
    def parts(self) -> tuple["Condition", ...]:
        return (self.first, *(link.operand for link in self.links))

    def evaluate(self, environment: Environment) -> bool:
        left, value = self.first, self.first.evaluate(environment)
        for link in self.links:
            right = link.operand.evaluate(environment)
            try:
                if not OPERATORS[link.operator](value, right):
                    return False
            except Exception as error:
                raise environment.error(_unanswered(left, value, link, right), link.at) from error
            left, value = link.operand, right
        return True

    def __str__(self) -> str:
        links = (f" {link.operator} {_grouped(link.operand, 5)}" for link in self.links)
        return _grouped(self.first, 5) + "".join(links)


Condition: TypeAlias = Constant | Path | Items | Not | And | Or | Comparison

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda item, container: item in container,
    "not in": lambda item, container: item not in container,
    "is": operator.is_,
    "is not": operator.is_not,
}


def _unanswered(left: Condition, value: Any, link: Link, right: Any) -> str:
    first, second = _shown(left), _shown(link.operand)
    missing = next((side for side, of in ((left, value), (link.operand, right)) if of is None), None)
    hint = (
        f"; ask first whether it is there: {_shown(missing)} is not None and ..." if isinstance(missing, Path) else ""
    )
    return (
        f"{first} {link.operator} {second} has no answer, because {first} is {_kind(value)} and {second} is "
        f"{_kind(right)}{hint}"
    )


def _shown(condition: Condition) -> str:
    """A condition as an operand, cut where it is long."""
    text = _grouped(condition, 5)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


# --- how conditions are written ------------------------------------------------------------------------------------

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_WRITTEN = {meant: f"\\{letter}" for letter, meant in _ESCAPES.items() if meant != "'"}
_ESCAPE = re.compile(r"\\(u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|.)", re.DOTALL)


def unquoted(token: str) -> str:
    """The text that a token with its quotes stands for. Raises ValueError for an escape that means nothing."""
    return _ESCAPE.sub(_meant, token[1:-1])


def _meant(escape: re.Match[str]) -> str:
    letters = escape[1]
    if len(letters) == 5:
        return chr(int(letters[1:], 16))
    if letters not in _ESCAPES:
        raise ValueError(
            f"the text has the escape {escape[0]!r}; write one of \\n \\r \\t \\\\ \\\" \\' and \\u with four digits"
        )
    return _ESCAPES[letters]


def quoted(text: str) -> str:
    """A text as a token that stands for it, on one line."""
    return f'"{"".join(map(_letter, text))}"'


def _letter(letter: str) -> str:
    if letter in _WRITTEN:
        return _WRITTEN[letter]
    is_plain = letter.isprintable() or ord(letter) > 0xFFFF or "\ud800" <= letter <= "\udfff"
    return letter if is_plain else f"\\u{ord(letter):04x}"


def _segment(key: str) -> str:
    if key.isidentifier():
        return f".{key}"
    return f"[{key}]" if re.fullmatch(r"-?[0-9]+", key) else f"[{quoted(key)}]"


def _grouped(condition: Condition, binds: int) -> str:
    """A condition as the operand of an operator that binds so tightly, in parentheses where it needs them."""
    return str(condition) if condition.binds >= binds else f"({condition})"
