"""What is said of a text that is no expression: the problem, the place, and the next step."""

import pytest

from msgflow import flow
from msgflow.errors import ExpressionError
from msgflow.flow.expression import parse
from tests.expressions import STEPS, refusal


@pytest.mark.parametrize(
    ("expression", "picture"),
    [
        (
            "prep -> -> answer",
            """\
line 1, column 9: a step is missing after '->': expected its name, '[', '{' or '@{', got '->'
    prep -> -> answer
            ^""",
        ),
        (
            "prep -> answer ->",
            """\
line 1, column 16: the arrow leads nowhere: name a step after it, or take it away
    prep -> answer ->
                   ^""",
        ),
        (
            "prep ->\n  anwser",
            """\
line 2, column 3: there is no step 'anwser'; did you mean 'answer'?
      anwser
      ^""",
        ),
        (
            "prep -> [a, b -> answer",
            """\
line 1, column 9: the '[' is not closed: write ']' after its last branch
    prep -> [a, b -> answer
            ^""",
        ),
        (
            "prep -> {n > 3 ? a, b -> answer",
            """\
line 1, column 9: the '{' is not closed: a choice is written {condition ? step, other}
    prep -> {n > 3 ? a, b -> answer
            ^""",
        ),
        (
            "{(n > 3 ? a, b}",
            """\
line 1, column 9: expected ')' after the condition, got '?'
    {(n > 3 ? a, b}
            ^""",
        ),
        (
            "{(n > 3",
            """\
line 1, column 2: the '(' is not closed: write ')' after the condition in it
    {(n > 3
     ^""",
        ),
        (
            "{name == 'Ada ? a, b}",
            """\
line 1, column 10: the text that begins here is not closed: write the same quote at its end, on the same line
    {name == 'Ada ? a, b}
             ^""",
        ),
        (
            "{n > 3 a, b}",
            """\
line 1, column 8: expected '?' after the condition, got 'a'
    {n > 3 a, b}
           ^""",
        ),
        (
            "prep -> @{n < 3}: a -> b",
            """\
line 1, column 9: the loop has no end: it is written @{condition}: step; with ';' after its last step
    prep -> @{n < 3}: a -> b
            ^""",
        ),
        (
            "{n = 3 ? a, b}",
            """\
line 1, column 4: '=' does not compare: write '=='
    {n = 3 ? a, b}
       ^""",
        ),
        (
            "{n > 3 && m ? a, b}",
            """\
line 1, column 8: write 'and', as a word
    {n > 3 && m ? a, b}
           ^""",
        ),
        (
            "{n > 3 || m ? a, b}",
            """\
line 1, column 8: write 'or', as a word
    {n > 3 || m ? a, b}
           ^""",
        ),
    ],
)
def test_common_mistakes_are_shown_with_their_place_and_the_next_step(expression, picture):
    with pytest.raises(ExpressionError) as caught:
        flow.Inline(expression, STEPS)
    assert str(caught.value) == picture


PATHS = 'a path is written user.name, items[0] or user["first name"]'
VALUE = "a value is missing: expected a path such as user.age, a number, a text in quotes, True, False or None, got "
STEP = "a step is missing{}: expected its name, '[', '{{' or '@{{', got {}"


@pytest.mark.parametrize(
    ("expression", "column", "problem"),
    [
        ("-> a", 1, STEP.format("", "'->'")),
        ("a -> $", 6, STEP.format(" after '->'", "'$'")),
        ("[]", 2, STEP.format(" after '['", "']'")),
        ("[a,]", 4, STEP.format(" after ','", "']'")),
        ("{n ?}", 5, STEP.format(" after '?'", "'}'")),
        ("@{n}: ;", 7, STEP.format(" after ':'", "';'")),
        ("a b", 3, "an arrow is missing: expected '->' before 'b'"),
        ("[a] {n ? b}", 5, "an arrow is missing: expected '->' before '{'"),
        ("a => b", 3, "an arrow is written '->'"),
        ("a \u2192 b", 3, "an arrow is written '->'"),
        ("a \u2013> b", 3, "an arrow is written '->'"),
        ("my-step", 3, "an arrow is written '->', and a name has letters, digits and '_' only"),
        ("'a'", 1, "the name of a step is written without quotes"),
        ("a.b", 2, "the name of a step has no dots"),
        ("1st", 1, "the name of a step begins with a letter or '_'"),
        ("a(x)", 2, "parentheses belong in conditions: a step is named here, and the flow calls it"),
        ("@n < 3: a;", 1, "a loop is written @{condition}: step;"),
        ("a, b", 2, "expected '->' or the end, because no bracket or loop is open, got ','"),
        ("a]", 2, "expected '->' or the end, because no bracket or loop is open, got ']'"),
        ("@{n}: a; ;", 10, "expected '->' or the end, because no bracket or loop is open, got ';'"),
        ("[a, {n ? b} }", 13, "expected '->', ',' or ']', got '}'"),
        ("[a, @{n}: b]", 12, "expected '->', or ';' at the end of the loop, got ']'"),
        ("{n ? a]", 7, "expected '->', ',' or '}', got ']'"),
        ("{n ? a, b, a}", 10, "expected '->' or '}', because a choice has two ways, got ','"),
        ("a > b", 3, "a choice is written {condition ? step, other}"),
        (
            "{n ? a, m > 3 ? b}",
            11,
            "a choice is written {condition ? step, other}, with other choices inside of it: {a ? x, {b ? y, z}}",
        ),
        ("{}", 2, VALUE + "'}'"),
        ("{n > ? a}", 6, VALUE + "'?'"),
        ("{n and and m ? a}", 8, VALUE + "'and'"),
        ("{n === 3 ? a}", 6, "operators are == != < <= > >="),
        ("{n <> 3 ? a}", 5, "write '!=' for not equal"),
        ("{n => 3 ? a}", 4, "write '>=' for at least"),
        ("{n =< 3 ? a}", 4, "write '<=' for at most"),
        ("{!n ? a}", 2, "write 'not', as a word"),
        ("{n ! in m ? a}", 4, "write 'not', as a word"),
        ("{n AND m ? a}", 4, "write and, or, not, in and is in small letters"),
        ("{n + 1 > 3 ? a}", 4, "conditions compare and do not calculate: let a step compute this"),
        ("{n > -m ? a}", 6, "conditions compare and do not calculate: let a step compute this"),
        ("{len(n) > 3 ? a}", 5, "conditions call nothing: let a step compute this"),
        ("{n..m ? a}", 3, PATHS),
        ("{n[m] ? a}", 3, PATHS),
        ("{n[0 ? a}", 3, PATHS),
        ("{n['a.b'] ? a}", 2, "a key in brackets is not empty and has no dots: a dot goes one level down"),
        ("{n[''] ? a}", 2, "a key in brackets is not empty and has no dots: a dot goes one level down"),
        ("{n is 3 ? a}", 7, "'is' asks for None, True or False: write '==' for other values, got '3'"),
        ("{n not m ? a}", 8, "expected 'in' after 'not', got 'm'"),
        ("{n in [1, 2 ? a}", 13, "expected ',' or ']' after the item, got '?'"),
        ("{n in [1, 2", 7, "the '[' is not closed: write ']' after its last item"),
        ("@{n < 3} a;", 8, "expected '}:' after the condition, got '}'"),
        ("@{n < 3", 1, "the loop has no end: it is written @{condition}: step; with ';' after its last step"),
        ("{n > 12abc ? a}", 6, "this is no number: write 3, -2.5 or 1e6, and put text in quotes"),
        ("{n > .5 ? a}", 6, "this is no number: write 3, -2.5 or 1e6, and put text in quotes"),
        ("{zip == 01234 ? a}", 9, "a number does not begin with 0; if this is text, put it in quotes"),
        ("{n < 1e999 ? a}", 6, "the number is too large"),
        ("{n < -1_0e99999 ? a}", 6, "the number is too large"),
        (
            r"{n == 'C:\q' ? a}",
            7,
            r"""the text has the escape '\\q'; write one of \n \r \t \\ \" \' and \u with four digits""",
        ),
        (
            r"{n['\ud800'] ? a}",
            2,
            r"""the text has the escape '\\u'; write one of \n \r \t \\ \" \' and \u with four digits""",
        ),
    ],
)
def test_other_mistakes_name_what_is_expected(expression, column, problem):
    assert refusal(expression) == (1, column, problem)


NAMED = "a name has letters, digits and '_' only, not "


@pytest.mark.parametrize(
    ("expression", "column", "problem"),
    [
        ("a\x00b", 2, "got '\\x00' (U+0000 a control character)"),
        ("a \u200b-> b", 3, "got '\\u200b' (U+200B ZERO WIDTH SPACE)"),
        ("a\u200b -> b", 2, NAMED + "'\\u200b' (U+200B ZERO WIDTH SPACE)"),
        ("a\u2192b", 2, NAMED + "'\u2192' (U+2192 RIGHTWARDS ARROW)"),
        ("a -> \u202eb", 6, "got '\\u202e' (U+202E RIGHT-TO-LEFT OVERRIDE)"),
        ("a \ud800", 3, "got '\\ud800' (U+D800 a control character)"),
        ("a \u037e", 3, "got '\u037e' (U+037E GREEK QUESTION MARK)"),
        ("a -> \u0430", 6, "there is no step '\u0430' (U+0430 CYRILLIC SMALL LETTER A); there are: prep, answer, a, b"),
        ("b -> prepa\u0301", 6, "there is no step 'prepa\u0301' (U+0301 COMBINING ACUTE ACCENT); did you mean 'prep'"),
        ("{n \u200b? a}", 4, "got '\\u200b' (U+200B ZERO WIDTH SPACE)"),
        ("{user.x\u200b[0] ? a}", 8, NAMED + "'\\u200b' (U+200B ZERO WIDTH SPACE)"),
        ("{user['x'].y\u00b2 ? a}", 13, NAMED + "'\u00b2' (U+00B2 SUPERSCRIPT TWO)"),
    ],
)
def test_a_letter_that_looks_like_another_is_named(expression, column, problem):
    line, at, said = refusal(expression)
    assert (line, at) == (1, column) and problem in said


def test_names_are_those_of_python_in_any_script():
    names = ["\u0928\u092e\u0938\u094d\u0924\u0947", "prepa\u0301", "\u65e5\u672c", "no\u0308t", "x\u0663"]
    assert all(name.isidentifier() for name in names)
    workflow = flow.Inline(" -> ".join(names), dict.fromkeys(names, lambda message: {"n": message.get("n", 0) + 1}))
    assert workflow({}) == {"n": 5}
    asked = flow.Inline(" -> ".join(f"{{{name} == 1 ? a}}" for name in names), {"a": lambda message: {"n": 1}})
    assert asked(dict.fromkeys(names, 1))["n"] == 1


def test_white_space_of_any_kind_is_white_space():
    assert parse("a\u00a0->\u2003b\u2028->\fa") == parse("a->b->a")


def test_lines_are_counted_by_line_feeds():
    assert refusal("prep ->\r\n[a,\r\n b c]\r\n")[:2] == (3, 4)
    assert refusal("prep\r-> nope")[:2] == (1, 9)


def test_wide_letters_and_tabs_keep_the_caret_in_its_place():
    with pytest.raises(ExpressionError) as caught:
        flow.Inline('{name == "\u65e5\u672c"\t= 3 ? a}', STEPS)
    assert str(caught.value).split("\n")[1:] == [
        '    {name == "\u65e5\u672c" = 3 ? a}',
        "              \u3000\u3000  ^",
    ]


def test_of_many_steps_the_first_are_named():
    steps = {f"step_{index}": lambda message: None for index in range(100)}
    with pytest.raises(ExpressionError, match=r"there is no step 'zzz'; there are: step_0, .* step_11 and 88 more"):
        flow.Inline("zzz", steps)
    with pytest.raises(ExpressionError, match="there is no step 'a'; there are: none"):
        flow.Inline("a", {})
