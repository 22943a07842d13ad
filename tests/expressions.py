"""Flow expressions: random ones, as the trees that they stand for, and what is said of a text that is none."""

import pytest
from hypothesis import strategies as st

from msgflow import flow
from msgflow.errors import ExpressionError
from msgflow.flow.conditions import OPERATORS, And, Comparison, Constant, Items, Link, Not, Or, Path
from msgflow.flow.expression import Chain, Choice, Fork, Repeat, Step

NAMES = st.sampled_from(["a", "b_1", "_", "Übung", "not", "in", "None", "or", "trueish"])
PLAIN_KEYS = st.sampled_from(["n", "text", "user.name", "items.0", "items.-1", "missing", "notes.inner", "isin.or"])
QUOTED_PARTS = st.text(min_size=1, max_size=8).filter(lambda part: "." not in part)
ODD_KEYS = st.builds(lambda first, part: f"{first}.{part}", st.sampled_from(["n", "user"]), QUOTED_PARTS)

CONSTANTS = st.builds(
    Constant,
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=6),
        st.sampled_from(["", "a", "draft", '"', "'", "\\", "\n", "-> ? }"]),
    ),
)
SINGLE = st.sampled_from([Constant(None), Constant(True), Constant(False)])


def conditions(keys):
    """Conditions that read these keys."""
    return st.recursive(st.one_of(CONSTANTS, st.builds(Path, keys)), larger, max_leaves=12)


def larger(smaller):
    several = st.lists(smaller, min_size=2, max_size=3).map(tuple)
    operators = st.sampled_from([operator for operator in OPERATORS if not operator.startswith("is")])
    links = st.one_of(
        st.builds(Link, operators, smaller),
        st.builds(Link, st.sampled_from(["is", "is not"]), SINGLE),
    )
    return st.one_of(
        st.builds(Not, smaller),
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Items, st.lists(smaller, max_size=3).map(tuple)),
        st.builds(Comparison, smaller, st.lists(links, min_size=1, max_size=3).map(tuple)),
    )


def chains():
    """Whole expressions; an empty chain is only one at the top."""
    asked = conditions(st.one_of(PLAIN_KEYS, ODD_KEYS))

    def around(inner):
        stages = st.one_of(
            st.builds(Step, NAMES),
            st.builds(Fork, st.lists(inner, min_size=1, max_size=3).map(tuple)),
            st.builds(Choice, asked, inner, st.one_of(st.none(), inner)),
            st.builds(Repeat, asked, inner),
        )
        return st.builds(Chain, st.lists(stages, min_size=1, max_size=3).map(tuple))

    step_only = st.builds(Chain, st.lists(st.builds(Step, NAMES), min_size=1, max_size=3).map(tuple))
    return st.one_of(st.just(Chain(())), st.recursive(step_only, around, max_leaves=8))


STEPS = dict.fromkeys(("prep", "answer", "a", "b"), lambda message: None)
UNPRINTABLE = dict.fromkeys([*range(32), 127], " ")


def refusal(expression):
    """What is said of it, after line and column; the caret is checked to be under the column."""
    with pytest.raises(ExpressionError) as caught:
        flow.Inline(expression, STEPS)
    error = caught.value
    head, shown, caret = str(error).split("\n")
    assert head.startswith(f"line {error.line}, column {error.column}: ") and error.expression == expression
    line = [*expression.split("\n")[error.line - 1], " "]
    if len(line) < 60 and "".join(line).isascii():
        assert shown[4:] + " " == "".join(line).translate(UNPRINTABLE)
        assert caret == " " * (error.column + 3) + "^"
    return error.line, error.column, head.partition(": ")[2]
