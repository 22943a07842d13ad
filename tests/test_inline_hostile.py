"""Texts that are made to hang, to crash or to confuse: each is an expression or an error, and soon."""

import sys
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from msgflow import flow
from msgflow.errors import ExpressionError
from msgflow.flow.expression import LONGEST, Expression, parse
from tests.expressions import STEPS, refusal
from tests.in_python import run_script

# A tracer, such as that of coverage, makes reading several times as slow.
LIMIT_S = 1 if sys.gettrace() is None else 10
MANY = 100_000
HALF = LONGEST // 2
HOSTILE = {
    "arrows": "->" * MANY,
    "steps": "a->" * MANY + "a",
    "as many steps as are read": "a->" * (LONGEST // 3 - 1) + "a",
    "open brackets": "[" * MANY,
    "as many as are read": "[" * LONGEST,
    "brackets": "[" * (HALF - 1) + "a" + "]" * (HALF - 1),
    "branches": "[" + "a," * (HALF - 2) + "a]",
    "loops": "@{" * MANY,
    "loops with conditions": "@{a}:" * (LONGEST // 5),
    "loops without an end": "@{a}:a->" * (LONGEST // 8),
    "not": "{" + "not " * MANY + "a ? a}",
    "as many not as are read": "{" + "not " * (LONGEST // 4 - 3) + "a ? a}",
    "parentheses": "{" + "(" * MANY + "a" + ")" * MANY + " ? a}",
    "as many parentheses as are read": "{" + "(" * (HALF - 4) + "a" + ")" * (HALF - 4) + "?a}",
    "open parentheses": "{" + "(" * (LONGEST - 1),
    "comparisons": "{" + "a<" * (HALF - 3) + "a?a}",
    "items": "{a in [" + "a," * (HALF - 6) + "a]?a}",
    "and": "{" + "a and " * (LONGEST // 6 - 2) + "a?a}",
    "an open text": '{a == "' + "x" * (LONGEST - 7),
    "an open text of escapes": '{a == "' + "\\x" * (HALF - 7),
    "many open texts": "{" + "\"'" * (HALF - 7),
    "a path": "{" + "a." * (HALF - 3) + "a?a}",
    "an open path": "{a" + "[0" * (HALF - 3),
    "a number": "{a < " + "9" * (LONGEST - 8) + "?a}",
    "a float": "{a < 0." + "9" * (LONGEST - 12) + "?a}",
    "underscores": "{a < 1" + "_" * (LONGEST - 12) + "?a}",
    "a name": "a" * LONGEST,
    "a name of marks": "a" + "\u0301" * (LONGEST - 1),
    "a name of arrows": "a\u2192" * HALF,
    "a path of arrows": "{" + "a\u0301.b[0]." * (LONGEST // 8) + "a\u2192",
    "spaces": "a" + " " * (LONGEST - 2) + "b",
    "spaces after @": "@" + " " * (LONGEST - 1),
    "spaces after }": "@{a}" + " " * (LONGEST - 4),
    "spaces in brackets": "{a[" + " " * (LONGEST - 4) + "x",
    "lines": "a\r\n" * (LONGEST // 3),
    "commas": "," * LONGEST,
    "nul": "\x00" * LONGEST,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_any_text_is_answered_within_a_second(text):
    """By the clock of this thread, because others may be given the processor meanwhile."""
    began = time.thread_time()
    error = refused(text)
    assert time.thread_time() - began < LIMIT_S
    if error is not None:
        problem, shown, caret = str(error).split("\n")
        assert error.line >= 1 and caret.index("^") - 4 == min(error.column - 1, 60)
        assert len(problem) < 300 and len(shown) <= 104


def refused(text):
    try:
        flow.Inline(text, STEPS)
    except ExpressionError as error:
        return error


def test_as_many_steps_as_are_read_run_within_a_second():
    workflow = flow.Inline("a->" * (LONGEST // 3 - 5) + "{b is None ? a}", STEPS)
    began = time.thread_time()
    assert workflow({}) == {}
    assert time.thread_time() - began < LIMIT_S


def test_a_condition_of_any_length_is_shown_cut():
    many = ", ".join(["n"] * 1000)
    for condition in (f"[{many}] < 1", f"1 < [{many}]", f"n['{'x' * 1000}'] < 1"):
        with pytest.raises(ExpressionError) as caught:
            flow.Inline(f"{{{condition} ? a}}", STEPS)({})
        assert len(str(caught.value)) < 600


def test_a_text_that_is_too_long_is_refused_by_its_length():
    assert refusal(" " * LONGEST + "a") == (
        1,
        LONGEST + 1,
        "the expression has 50,001 characters; at most 50,000 are read",
    )
    assert parse(" " * (LONGEST - 1) + "a") == parse("a")


@pytest.mark.parametrize("nested", ["{n ? ", "[", "@{n}: "])
def test_what_is_nested_too_deep_is_refused_at_its_place(nested):
    closed = {"{n ? ": "}", "[": "]", "@{n}: ": ";"}[nested]
    line, column, problem = refusal(nested * 201 + "a" + closed * 201)
    assert (line, column) == (1, len(nested) * 200 + 1)
    assert problem == "this is nested more than 200 deep; move the inner part into a step"


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab[]{}()@?:;,->=<\"'\\ \n01.!&|\u2192\x00").map(str), max_size=30))
@example("{a[0].b['c'] > -1 ? [a -> b, a], @{not a}: b;}")
def test_any_text_is_an_expression_or_an_error_with_a_caret_under_its_place(text):
    error = refused(text)
    if error is None:
        chain = Expression(text).chain
        assert parse(str(chain)) == chain
    else:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1
        assert str(error).endswith("\n" + " " * (error.column + 3) + "^")


def test_threads_that_are_the_first_to_read_share_one_parser():
    """In an interpreter of its own, where nothing has been read yet."""
    assert run_script(FIRST_READERS) == "1 [8]"


FIRST_READERS = """
import threading
import lark
from msgflow.flow.expression import parse
built, read = [], []
init = lark.Lark.__init__
lark.Lark.__init__ = lambda self, *args, **kwargs: (built.append(1), init(self, *args, **kwargs))[1]
begin = threading.Barrier(8)
def reader():
    begin.wait()
    read.append(str(parse("a -> [b, {not n > 3 ? c}] -> @{x in [1, 'y']}: d;")))
threads = [threading.Thread(target=reader) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(built), [read.count(text) for text in set(read)])
"""
