"""Flow expressions: the text of a workflow's shape, and the tree that it stands for.

    prep -> [a, b -> c] -> {score > 0.9 ? x, y} -> @{n < 3}: step; -> end

    Chain      one after the other; an empty expression is an empty chain
    Fork       `[p, q]`, chains side by side
    Choice     `{condition ? p, q}`; without `, q` nothing happens where the condition does not hold
    Repeat     `@{condition}: p;`, while the condition holds, which is asked first

Names of steps are Python identifiers; white space and line ends are free. Reading is one pass, in time linear in the
length, and nothing in it recurses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

from msgflow._once import once
from msgflow.flow.conditions import (
    And,
    Comparison,
    Condition,
    Constant,
    Items,
    Link,
    Not,
    Or,
    Path,
    error_at,
    unquoted,
)
from msgflow.flow.mistakes import explained, spelled

if TYPE_CHECKING:
    from lark import Lark, Token

LONGEST = 50_000  # characters: half a second of reading at the worst
DEEPEST = 200  # forks, choices, loops and operators inside of each other


class Expression(str):
    """The text of an expression, which also knows the tree that it stands for."""

    __slots__ = ("chain",)
    chain: "Chain"

    def __new__(cls, text: str) -> "Expression":
        """Raises ExpressionError, which points at the place, for a text that is no expression."""
        self = str.__new__(cls, text)
        self.chain = parse(str.__str__(text))
        return self

    def __reduce__(self) -> tuple[type["Expression"], tuple[str]]:
        return Expression, (str.__str__(self),)

    def __deepcopy__(self, memo: object) -> "Expression":
        return self


# `at` is the offset of a node in its expression.


@dataclass(frozen=True, slots=True)
class Step:
    """A step by its name."""

    name: str
    at: int = field(default=0, compare=False, repr=False)

    @property
    def parts(self) -> tuple["Node", ...]:
        return ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Chain:
    """Stages, one after the other."""

    stages: tuple["Stage", ...]

    @property
    def parts(self) -> tuple["Node", ...]:
        return self.stages

    def __str__(self) -> str:
        return " -> ".join(map(str, self.stages))


@dataclass(frozen=True, slots=True)
class Fork:
    """Chains side by side."""

    branches: tuple[Chain, ...]
    at: int = field(default=0, compare=False, repr=False)

    @property
    def parts(self) -> tuple["Node", ...]:
        return self.branches

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.branches))}]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two chains, or none."""

    condition: Condition
    then: Chain
    otherwise: Chain | None
    at: int = field(default=0, compare=False, repr=False)

    @property
    def parts(self) -> tuple["Node", ...]:
        return (self.condition, self.then, *([] if self.otherwise is None else [self.otherwise]))

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else f", {self.otherwise}"
        return f"{{{self.condition} ? {self.then}{otherwise}}}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A chain that is gone through again and again while its condition holds."""

    condition: Condition
    body: Chain
    at: int = field(default=0, compare=False, repr=False)

    @property
    def parts(self) -> tuple["Node", ...]:
        return (self.condition, self.body)

    def __str__(self) -> str:
        return f"@{{{self.condition}}}: {self.body};"


Stage: TypeAlias = Step | Fork | Choice | Repeat
Node: TypeAlias = Stage | Chain | Condition


def steps_of(chain: Chain) -> Iterator[Step]:
    """Every mention of a step, in the order of the text."""
    waiting: list[Node] = [chain]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Step):
            yield node
        elif isinstance(node, Chain | Fork | Choice | Repeat):
            waiting.extend(reversed(node.parts))


def parse(text: str) -> Chain:
    """The tree that a text stands for. Raises ExpressionError, which points at the place, for one that has none."""
    from lark import UnexpectedInput

    if len(text) > LONGEST:
        raise error_at(text, LONGEST, f"the expression has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        chain: Chain = _parser(GRAMMAR).parse(text)  # type: ignore[assignment]  # what _Builder.start returns
    except UnexpectedInput as error:
        raise explained(error, text) from None
    except _Refused as refused:
        raise error_at(text, refused.at, refused.problem) from None
    _check_depth(chain, text)
    return chain


def _check_depth(chain: Chain, text: str) -> None:
    """Refuse what could not be followed without running out of stack. Chains, steps and single values do not count."""
    waiting: list[tuple[Node, int]] = [(chain, 0)]
    while waiting:
        node, depth = waiting.pop()
        if not isinstance(node, Chain):
            depth += 1
            if depth > DEEPEST and node.parts:
                raise error_at(
                    text, node.at, f"this is nested more than {DEEPEST} deep; move the inner part into a step"
                )
        waiting.extend((part, depth) for part in node.parts)


# --- the grammar ---------------------------------------------------------------------------------------------------

# What a name may go on with: more than is an identifier in the end, so that what looks like nothing is not passed over.
LETTER = r"[^\s\x00-\x2f:-@\[-^`{-\x7f]"

# Which terminals are looked for depends on what the parser can take (lark's contextual lexer), so that `[` and names
# mean one thing among steps and another in a condition. Words have a priority, lest `or` be read as the path `or`.
GRAMMAR = r"""
start: chain?
chain: stage (_ARROW stage)*
?stage: NAME -> step | fork | choice | repeat
fork: FORK chain (_COMMA chain)* _JOIN
choice: CHOICE condition _ASK chain (_COMMA chain)? _END
repeat: REPEAT condition _BODY chain _AGAIN

?condition: disjunction
?disjunction: conjunction (_OR conjunction)*
?conjunction: negation (_AND negation)*
?negation: NOT negation -> negated | comparison
?comparison: operand link*
link: (ORDER | IN | NOT IN) operand | IS constant | IS NOT constant
?operand: PATH -> path | NUMBER -> number | TEXT -> text | constant | items | _OPEN condition _CLOSE
constant: CONSTANT
items: LIST (operand (_COMMA operand)*)? _JOIN

NAME: /[^\W\d]<letter>*/
PATH: /(?!(?:and|or|not|in|is)(?!<letter>))/ NAME ("." (NAME | /[0-9]+/) | /\[\s*/ (/-?[0-9]+/ | TEXT) /\s*\]/)*
CONSTANT.2: /(?:None|null|[Tt]rue|[Ff]alse)(?!<letter>)/
NUMBER: /-?[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?!<letter>|\.)/
TEXT: /"[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'/
_OR.2: /or(?!<letter>)/
_AND.2: /and(?!<letter>)/
NOT.2: /not(?!<letter>)/
IN.2: /in(?!<letter>)/
IS.2: /is(?!<letter>)/
ORDER: /[=!]=|[<>]=?/

_ARROW: "->"
FORK: "["
LIST: "["
_JOIN: "]"
CHOICE: "{"
_END: "}"
REPEAT: /@\s*\{/
_BODY: /\}\s*:/
_AGAIN: ";"
_ASK: "?"
_COMMA: ","
_OPEN: "("
_CLOSE: ")"
%ignore /\s+/
""".replace("<letter>", LETTER)


@once
def _parser(grammar: str) -> "Lark":
    from lark import Lark

    return Lark(grammar, parser="lalr", lexer="contextual", maybe_placeholders=False, transformer=_Builder())


class _Refused(Exception):
    """A token that has the right form and no meaning. `offset` is where in it that shows."""

    def __init__(self, problem: str, token: "Token", offset: int = 0) -> None:
        self.problem, self.at = problem, (token.start_pos or 0) + offset


class _Builder:
    """Makes the node of each rule from its parts, as soon as the parser has read them."""

    def start(self, parts: list[Chain]) -> Chain:
        return parts[0] if parts else Chain(())

    def chain(self, parts: list[Stage]) -> Chain:
        return Chain(tuple(parts))

    def step(self, parts: "list[Token]") -> Step:
        return Step(_name(parts[0], parts[0]), _at(parts))

    def fork(self, parts: list[Any]) -> Fork:
        return Fork(tuple(parts[1:]), _at(parts))

    def choice(self, parts: list[Any]) -> Choice:
        _, condition, then, *otherwise = parts
        return Choice(condition, then, otherwise[0] if otherwise else None, _at(parts))

    def repeat(self, parts: list[Any]) -> Repeat:
        _, condition, body = parts
        return Repeat(condition, body, _at(parts))

    def disjunction(self, parts: list[Condition]) -> Or:
        return Or(tuple(parts), parts[0].at)

    def conjunction(self, parts: list[Condition]) -> And:
        return And(tuple(parts), parts[0].at)

    def negated(self, parts: list[Any]) -> Not:
        return Not(parts[1], _at(parts))

    def comparison(self, parts: list[Any]) -> Comparison:
        return Comparison(parts[0], tuple(parts[1:]))

    def link(self, parts: list[Any]) -> Link:
        *operator, operand = parts
        return Link(" ".join(operator), operand, _at(parts))

    def path(self, parts: "list[Token]") -> Path:
        return Path(_key(parts[0]), _at(parts))

    def constant(self, parts: "list[Token]") -> Constant:
        return Constant({"t": True, "f": False, "n": None}[parts[0][0].lower()], _at(parts))

    def number(self, parts: "list[Token]") -> Constant:
        return Constant(_number(parts[0]), _at(parts))

    def text(self, parts: "list[Token]") -> Constant:
        return Constant(_meant(parts[0], parts[0]), _at(parts))

    def items(self, parts: list[Any]) -> Items:
        return Items(tuple(parts[1:]), _at(parts))


def _at(parts: list[Any]) -> int:
    token: Token = parts[0]
    return token.start_pos or 0


_SEGMENT = re.compile(
    rf"""\.?({LETTER}+)|\[\s*(?:(-?[0-9]+)|("[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'))\s*\]"""
)


def _key(token: "Token") -> str:
    """The dotted key of a path, whichever way each of its parts is written."""
    if "[" not in token and token.isascii():
        return str(token)
    found = _SEGMENT.finditer(token)
    parts = [
        _name(match[1], token, match.start(1)) if match[1] else match[2] or _meant(match[3], token) for match in found
    ]
    if any("." in part or not part for part in parts):
        raise _Refused("a key in brackets is not empty and has no dots: a dot goes one level down", token)
    return ".".join(parts)


def _name(name: str, token: "Token", offset: int = 0) -> str:
    """A name, if it is one: each letter may stand in a Python identifier."""
    for index, letter in enumerate("" if name.isascii() else name):
        if not f"_{letter}".isidentifier():
            raise _Refused(f"a name has letters, digits and '_' only, not {spelled(letter)}", token, offset + index)
    return str(name)


def _meant(text: str, token: "Token") -> str:
    """What a text in quotes stands for."""
    try:
        return unquoted(text)
    except ValueError as error:
        raise _Refused(str(error), token) from None


def _number(token: "Token") -> int | float:
    digits = token.removeprefix("-")
    if re.match("0[0-9_]", digits):
        raise _Refused("a number does not begin with 0; if this is text, put it in quotes", token)
    try:
        value = int(token) if re.fullmatch("[0-9_]+", digits) else float(token)
        if isfinite(value):
            return value
    except (ValueError, OverflowError):  # more digits than Python reads, or than a float has room for
        pass
    raise _Refused("the number is too large", token)
