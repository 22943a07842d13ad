"""What is wrong with a text that is no flow expression: in words, with the place and the next step.

Where reading stops, three facts decide: what stands there, which bracket is open, and whether a step (in a condition:
a value) has to come next.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgflow.errors import ExpressionError
from msgflow.flow.conditions import error_at

if TYPE_CHECKING:
    from lark import Token, UnexpectedInput


@dataclass(frozen=True, slots=True)
class Stop:
    """Where reading stopped. `bracket` is the innermost one that is open, `asks` says that it is in a condition."""

    text: str
    at: int
    bracket: "Token | None"
    asks: bool
    expected: frozenset[str]

    @property
    def is_end(self) -> bool:
        return self.at == len(self.text)

    @property
    def opened(self) -> str:
        """The kind of the innermost bracket: the name of its terminal, or "" where none is open."""
        return "" if self.bracket is None else self.bracket.type

    @property
    def got(self) -> str:
        """What stands there, in words."""
        found = re.compile(r"->|\w{1,40}|.", re.DOTALL).match(self.text, self.at)
        return spelled(found[0] if found else "")


def spelled(text: str) -> str:
    """A text in quotes, with the name of its first letter that might look like another, or like nothing."""
    strange = next((letter for letter in text if not (letter.isascii() and letter.isprintable())), None)
    if strange is None:
        return f"'{text}'"
    return f"{text!r} (U+{ord(strange):04X} {unicodedata.name(strange, 'a control character')})"


_CLOSES = {"_JOIN": ("FORK", "LIST"), "_END": ("CHOICE",), "_AGAIN": ("REPEAT",), "_CLOSE": ("_OPEN",)}
_OPENS = {opens for several in _CLOSES.values() for opens in several}
_ENDS_CONDITION = {"_ASK", "_BODY"}


def explained(error: "UnexpectedInput", text: str) -> ExpressionError:
    """The error that says what is wrong where a parser of expressions stopped reading a text."""
    facts: Any = error  # what the two kinds of UnexpectedInput share, its class does not declare
    token = getattr(error, "token", None)
    at = len(text) if token is not None and token.type == "$END" else facts.pos_in_stream
    bracket, asks = _innermost(facts.state.value_stack)
    expected = frozenset(facts.expected if token is not None else facts.allowed)
    problem, place = _diagnosis(Stop(text, at, bracket, asks, expected))
    return error_at(text, place, problem)


def _innermost(stack: Sequence[Any]) -> tuple["Token | None", bool]:
    """The last bracket that is open among tokens and finished nodes, and whether its condition is being read."""
    closed, asks = 0, True
    for item in reversed(stack):
        kind = getattr(item, "type", "")
        if kind in _CLOSES:
            closed += 1
        elif kind in _OPENS and closed:
            closed -= 1
        elif kind in _OPENS:
            return item, asks and kind != "FORK"
        elif kind in _ENDS_CONDITION and not closed:
            asks = False
    return None, False


def _diagnosis(stop: Stop) -> tuple[str, int]:
    """The problem, and the offset that it points at."""
    before = stop.text[: stop.at].rstrip()
    if stop.is_end and before.endswith("->") and not stop.asks:
        return "the arrow leads nowhere: name a step after it, or take it away", len(before) - 2
    if stop.is_end and stop.bracket is not None:
        return _UNCLOSED[stop.opened], stop.bracket.start_pos or 0
    if stop.asks:
        return (_no_value(stop) if "PATH" in stop.expected else _no_operator(stop)), stop.at
    return (_no_step(stop, before) if "NAME" in stop.expected else _no_arrow(stop)), stop.at


_UNCLOSED = {
    "FORK": "the '[' is not closed: write ']' after its last branch",
    "LIST": "the '[' is not closed: write ']' after its last item",
    "CHOICE": "the '{' is not closed: a choice is written {condition ? step, other}",
    "REPEAT": "the loop has no end: it is written @{condition}: step; with ';' after its last step",
    "_OPEN": "the '(' is not closed: write ')' after the condition in it",
}


def _hint(stop: Stop, hints: Sequence[tuple[str, str]]) -> str | None:
    """What is meant by what stands there, where it is something that is often written."""
    return next((hint for pattern, hint in hints if re.compile(pattern).match(stop.text, stop.at)), None)


def _no_step(stop: Stop, before: str) -> str:
    after = next((f" after '{sign}'" for sign in ("->", "[", ",", "?", ":") if before.endswith(sign)), "")
    return (
        _hint(stop, _AMONG_STEPS) or f"a step is missing{after}: expected its name, '[', '{{' or '@{{', got {stop.got}"
    )


def _no_arrow(stop: Stop) -> str:
    if hint := _hint(stop, _AMONG_STEPS):
        return hint
    if re.compile(r"[\w\[{@]").match(stop.text, stop.at):
        return f"an arrow is missing: expected '->' before {stop.got}"
    if re.compile(r"[?:<>=!]").match(stop.text, stop.at):
        return _ONE_CONDITION if stop.opened == "CHOICE" else "a choice is written {condition ? step, other}"
    expected = {
        "": "'->' or the end, because no bracket or loop is open",
        "FORK": "'->', ',' or ']'",
        "CHOICE": "'->', ',' or '}'" if "_COMMA" in stop.expected else "'->' or '}', because a choice has two ways",
        "REPEAT": "'->', or ';' at the end of the loop",
    }
    return f"expected {expected[stop.opened]}, got {stop.got}"


def _no_value(stop: Stop) -> str:
    return _hint(stop, _FOR_VALUES) or (
        "a value is missing: expected a path such as user.age, a number, a text in quotes, True, False or None, "
        f"got {stop.got}"
    )


def _no_operator(stop: Stop) -> str:
    if "CONSTANT" in stop.expected:
        return f"'is' asks for None, True or False: write '==' for other values, got {stop.got}"
    if stop.expected == {"IN"}:
        return f"expected 'in' after 'not', got {stop.got}"
    expected = {
        "CHOICE": "'?' after the condition",
        "REPEAT": "'}:' after the condition",
        "LIST": "',' or ']' after the item",
        "_OPEN": "')' after the condition",
    }
    return _hint(stop, _FOR_OPERATORS) or f"expected {expected[stop.opened]}, got {stop.got}"


# What is often written, by what stands where reading stops, and what is meant by it. The first that matches counts.
_ONE_CONDITION = "a choice is written {condition ? step, other}, with other choices inside of it: {a ? x, {b ? y, z}}"

_AMONG_STEPS = (
    ("=>|>>|[\u2010-\u2015\u2212]>?|[\u2192\u21d2\u27f6]", "an arrow is written '->'"),
    ("-(?!>)", "an arrow is written '->', and a name has letters, digits and '_' only"),
    ("[\"']", "the name of a step is written without quotes"),
    (r"\.", "the name of a step has no dots"),
    (r"\d", "the name of a step begins with a letter or '_'"),
    (r"[()]", "parentheses belong in conditions: a step is named here, and the flow calls it"),
    (r"@(?!\s*\{)", "a loop is written @{condition}: step;"),
)

_CALCULATES = (r"-(?!>)|[+*/%^~]", "conditions compare and do not calculate: let a step compute this")

_FOR_VALUES = (
    ("=", "operators are == != < <= > >="),
    ("(?<=<)>", "write '!=' for not equal"),
    ("!", "write 'not', as a word"),
    ("[\"']", "the text that begins here is not closed: write the same quote at its end, on the same line"),
    (r"\.?\d", "this is no number: write 3, -2.5 or 1e6, and put text in quotes"),
    _CALCULATES,
)

_FOR_OPERATORS = (
    ("=>", "write '>=' for at least"),
    ("=<", "write '<=' for at most"),
    ("=", "'=' does not compare: write '=='"),
    ("&&?", "write 'and', as a word"),
    (r"\|\|?", "write 'or', as a word"),
    ("!", "write 'not', as a word"),
    (r"(?!(?:and|or|not|in|is)\b)(?i:and|or|not|in|is)\b", "write and, or, not, in and is in small letters"),
    (r"\(", "conditions call nothing: let a step compute this"),
    (r"[.\[]", 'a path is written user.name, items[0] or user["first name"]'),
    _CALCULATES,
)
