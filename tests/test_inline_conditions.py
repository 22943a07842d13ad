"""Conditions of flow expressions mean what they mean in Python, and are never run as Python."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import msgflow as mf
from msgflow import flow
from msgflow.errors import ExpressionError
from msgflow.flow.conditions import And, Comparison, Constant, Items, Not, Or, Path, holds
from msgflow.flow.expression import parse
from tests.expressions import PLAIN_KEYS, chains, conditions


def asked(condition, message=None):
    """Whether an Inline takes the first way."""
    steps = {"yes": lambda message: {"way": True}, "no": lambda message: {"way": False}}
    return flow.Inline(f"{{{condition} ? yes, no}}", steps)(mf.Message(message or {}))["way"]


@pytest.mark.parametrize(
    ("condition", "message", "holds"),
    [
        ("score > 0.9", {"score": 0.95}, True),
        ("score > 0.9", {"score": 0.9}, False),
        ("n == 2", {"n": 2.9}, False),
        ("n > 2", {"n": 2.9}, True),
        ("n != 3", {"n": 4}, True),
        ("zip == '10'", {"zip": "10"}, True),
        ("zip == 10", {"zip": "10"}, False),
        ("n > -1", {"n": 0}, True),
        ("n>=1e-3", {"n": 0.001}, True),
        ("n == 1_000", {"n": 1000}, True),
        ("0 < n <= 3", {"n": 3}, True),
        ("0 < n <= 3", {"n": 4}, False),
        ("3 > n < 2 != n", {"n": 1}, True),
        ("user.tags[0].name == 'x'", {"user": {"tags": [{"name": "x"}]}}, True),
        ("user.tags.0.name == 'x'", {"user": {"tags": [{"name": "x"}]}}, True),
        ("items[-1] == 3", {"items": [1, 2, 3]}, True),
        ("items[ 3 ] is None", {"items": [1, 2, 3]}, True),
        ('user["first name"] == "Ada"', {"user": {"first name": "Ada"}}, True),
        ("user.in == user['not']", {"user": {"in": 1, "not": 1}}, True),
        ("a.b.c is None", {}, True),
        ("a is not None", {"a": 0}, True),
        ("flag is True", {"flag": 1}, False),
        ("flag == true and other == false and null is None", {"flag": True, "other": False}, True),
        ("not flag", {"flag": []}, True),
        ("not not flag", {"flag": "x"}, True),
        ("not n > 1", {"n": 1}, True),
        ("a or b and c", {"a": 1, "b": 0, "c": 0}, True),
        ("(a or b) and c", {"a": 1, "b": 0, "c": 0}, False),
        ("(a or b) == 3", {"a": 0, "b": 3}, True),
        ("'bc' in text", {"text": "abcd"}, True),
        ("lang in ['de', \"en\"]", {"lang": "en"}, True),
        ("lang not in ['de', 'en']", {"lang": "en"}, False),
        ("tags == []", {"tags": []}, True),
        ("key in record", {"key": "a", "record": {"a": 1}}, True),
        ("android == 1 and nothing is None and island == 2", {"android": 1, "island": 2}, True),
        (
            """text == "a, b -> [c] ? {d} & ; \\" ' \\n \\u00e9 \\\\" """,
            {"text": "a, b -> [c] ? {d} & ; \" ' \n é \\"},
            True,
        ),
    ],
)
def test_a_condition_means_what_it_means_in_python(condition, message, holds):
    assert asked(condition, message) is holds


def test_what_is_decided_already_is_not_asked():
    assert asked("n is None or n > 3", {}) is True
    assert asked("n is not None and n > 3", {}) is False
    assert asked("1 > 2 > text", {"text": "x"}) is False


@pytest.mark.parametrize(
    ("condition", "problem", "column"),
    [
        (
            "user.age < 18",
            "user.age < 18 has no answer, because user.age is None and 18 is of type int; "
            "ask first whether it is there: user.age is not None and ...",
            11,
        ),
        ("n > 1 and n < text", "n < text has no answer, because n is of type int and text is of type str", 14),
        ("1 < n < text", "n < text has no answer, because n is of type int and text is of type str", 8),
        ("1 in text", "1 in text has no answer, because 1 is of type int and text is of type str", 4),
        ("n not in n", "n not in n has no answer, because n is of type int and n is of type int", 4),
        (
            "'a' in tags",
            '"a" in tags has no answer, because "a" is of type str and tags is None; '
            "ask first whether it is there: tags is not None and ...",
            6,
        ),
        ("user < user", "user < user has no answer, because user is None and user is None; ask first", 7),
        ("(n or 1) < [n]", "(n or 1) < [n] has no answer, because (n or 1) is of type int and [n] is of type list", 11),
    ],
)
def test_a_comparison_without_an_answer_is_an_error_that_names_the_path_and_the_place(condition, problem, column):
    with pytest.raises(ExpressionError) as caught:
        asked(condition, {"n": 2, "text": "x"})
    assert (caught.value.line, caught.value.column) == (1, column)
    assert str(caught.value).startswith(f"line 1, column {column}: {problem}")
    picture = str(caught.value).split("\n")[1:]
    assert picture == [f"    {{{condition} ? yes, no}}", " " * (column + 3) + "^"]


class Undecided:
    """As a numpy array: comparing it says nothing."""

    def __bool__(self):
        raise ValueError("neither")

    def __eq__(self, other):
        return Undecided()

    __hash__ = None


def test_a_value_that_is_neither_true_nor_false_is_an_error_with_its_cause():
    for condition, column in [("x", 2), ("not x", 6), ("n and x or n", 2), ("x and n", 2)]:
        with pytest.raises(ExpressionError, match="is of type Undecided, which is neither true nor false") as caught:
            asked(condition, {"x": Undecided(), "n": 1})
        assert caught.value.column == column and str(caught.value.__cause__) == "neither"
    with pytest.raises(ExpressionError, match="x == 1 has no answer, because x is of type Undecided"):
        asked("x == 1", {"x": Undecided()})


def test_conditions_read_no_attributes_and_call_nothing():
    class Sly:
        secret = "s"

        def __call__(self):
            raise AssertionError("called")

    assert asked("sly.secret is None and sly.__class__ is None and sly", {"sly": Sly()}) is True


@pytest.mark.parametrize(
    "hostile", ["__import__('os')", "().__class__", "[x for x in y]", "lambda: 1", "x := 1", "f'{x}'", "x if y else z"]
)
def test_python_that_is_no_condition_is_refused(hostile):
    with pytest.raises(ExpressionError):
        asked(hostile)


# --- against Python itself -------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=True), st.sampled_from(["", "a", "ab"])
    ),
    lambda smaller: st.one_of(st.lists(smaller, max_size=3), st.dictionaries(st.sampled_from("abn"), smaller)),
    max_leaves=5,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "n": VALUES,
        "text": VALUES,
        "user": st.fixed_dictionaries({}, optional={"name": VALUES}),
        "items": st.lists(VALUES, max_size=2),
    },
)


def in_python(condition, constants):
    """The condition as Python, with every operand in parentheses; constants become names, as `1 is None` warns."""
    match condition:
        case Constant(value):
            constants.append(value)
            return f"constants[{len(constants) - 1}]"
        case Path(key):
            return f"get({key!r})"
        case Items(items):
            return f"[{', '.join(in_python(item, constants) for item in items)}]"
        case Not(operand):
            return f"(not {in_python(operand, constants)})"
        case And(operands):
            return f"({' and '.join(in_python(operand, constants) for operand in operands)})"
        case Or(operands):
            return f"({' or '.join(in_python(operand, constants) for operand in operands)})"
        case Comparison(first, links):
            first = in_python(first, constants)
            return f"({first}{''.join(f' {link.operator} {in_python(link.operand, constants)}' for link in links)})"


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(conditions(PLAIN_KEYS), MESSAGES)
def test_a_random_condition_has_the_answer_that_python_gives(condition, message):
    message, constants = mf.Message(message), []
    python = in_python(condition, constants)
    try:
        expected = bool(eval(python, {"__builtins__": {}}, {"get": message.get, "constants": constants}))
    except TypeError:
        expected = ExpressionError
    text = f"{{{condition} ? a}}"
    [choice] = parse(text).stages
    try:
        answer = holds(choice.condition, message, text)
    except ExpressionError:
        answer = ExpressionError
    assert answer is expected, f"{condition} is {answer}; {python} is {expected}"


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(chains())
def test_an_expression_that_is_written_out_and_read_again_is_the_same(chain):
    assert repr(parse(str(chain))) == repr(chain)
