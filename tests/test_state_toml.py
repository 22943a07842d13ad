"""States as TOML: files that read well, and edits that leave comments and order alone."""

import math
import tomllib

import pytest
import tomlkit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tomlkit.container import OutOfOrderTableProxy
from tomlkit.items import Table

import msgflow.state as state
from msgflow.errors import StateFileError

PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
AWKWARD_TEXT = st.text(st.sampled_from("\"\\\n\r\t #'=[]{}\x00\x7f\x85\u2028ax"), max_size=12)
TEXT = PLAIN_TEXT | AWKWARD_TEXT
SCALARS = st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3))
# Few parts, so that keys are often tables of each other.
DOTTED = st.lists(st.sampled_from(["a", "b", "", "0", 'q"', "\u00e9", "#"]), min_size=1, max_size=4).map(".".join)
STATES = st.dictionaries(DOTTED | TEXT, VALUES, max_size=6)
SMALL = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def saved_text(tmp_path, values):
    path = tmp_path / "s.toml"
    state.save(values, path)
    return path.read_bytes().decode()


def edited(tmp_path, text, values):
    """What a file with this text holds after saving over it."""
    (tmp_path / "s.toml").write_bytes(text.encode())
    return saved_text(tmp_path, values)


def exact(values):
    """repr tells 1 from 1.0 and True, 0.0 from -0.0; the order of top keys is the file's to choose."""
    return {key: repr(value) for key, value in values.items()}


def meaning(table, prefix=""):
    """The state that a table of tomlkit holds."""
    for name, value in table.items():
        if isinstance(value, Table | OutOfOrderTableProxy):
            yield from meaning(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, bool) else value.unwrap()


@given(STATES, STATES, st.data())
@SMALL
@example({"a": 1, "b": 2}, {"a.b": 1, "b": 2}, None)
@example({"a.b": 1, "a.c.d": 2}, {"a": 1, "a.c.d": 2}, None)
def test_any_state_saved_over_any_other_comes_back_exactly_and_keeps_the_comments(tmp_path, first, second, data):
    (tmp_path / "s.toml").unlink(missing_ok=True)
    lines = saved_text(tmp_path, first).split("\n")
    starts = [index for index in range(len(lines)) if _is_toml("\n".join(lines[:index]))]
    for index in sorted(data.draw(st.sets(st.sampled_from(starts), max_size=3)) if data else [], reverse=True):
        lines.insert(index, f"# comment {index}")
    text = edited(tmp_path, "\n".join(lines), second)
    assert exact(state.load(tmp_path / "s.toml")) == exact(second)
    assert all(line in text for line in lines if line.startswith("# comment"))
    tomllib.loads(text)


def _is_toml(text):
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


STATEMENTS = ["a.b = 1", "b = { a = 1 }", "[a]", "[a.b]", "[b]", "[[a]]", "[[a.b]]", '["a.b"]', "a = 1", "c = [\n1,\n]"]


@given(st.lists(st.sampled_from(STATEMENTS), max_size=6, unique=True).map("\n".join))
@SMALL
def test_a_file_means_what_another_parser_that_knows_tables_from_dicts_reads(tmp_path, text):
    (tmp_path / "s.toml").write_text(f"{text}\n")
    try:
        loaded = state.load(tmp_path / "s.toml")
    except StateFileError:
        assert not _is_toml(text) or "is there twice" in text
        return
    assert exact(loaded) == exact(dict(meaning(tomlkit.parse(text))))


TOML_PIECES = [
    "a",
    "b",
    ".",
    "=",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    '"',
    '"""',
    "'",
    "'''",
    "\n",
    "\n",
    "#",
    " ",
    "1",
    ",",
    "\\",
]


@given(st.lists(st.sampled_from(TOML_PIECES), max_size=20).map("".join), STATES)
@SMALL
@example("[[a]]\nx=1\n[a.b]\n[c]\n[[a]]\n", {"a.x": 1, "c": 2})
@example("a.b = 1\n[c]\nd.e = 1\n[a.f]\ng=1\n[[c.h]]\n", {"a.x": 1, "c.d.y": 2, "c.d.z.q": 3, "a.f": 4})
@example("[a.b]\nx=1\n[c]\n[a]\ny=1", {"a.b.x": 1, "a.z": 2})
def test_saving_over_any_text_is_exact_or_refused(tmp_path, text, values):
    path = tmp_path / "s.toml"
    path.write_text(text)
    try:
        state.save(values, path)
    except StateFileError:
        assert path.read_text() == text
        return
    assert exact(state.load(path)) == exact(values)


def test_dotted_keys_are_tables_and_prompts_have_lines_of_their_own(tmp_path):
    values = {
        "title": "outer",
        "inner.instructions": 'Say "hi".\nThen """quote""" C:\\temp\n\n  indented\ttab\n',
        "inner.shots": [{"q": "2+2", "a": 4}, {"q": "a long one " * 5, "a": {}}],
        "inner.stop": ["a", "b"],
        "steps.0.on": True,
    }
    assert saved_text(tmp_path, values) == (
        'title = "outer"\n'
        "\n"
        "[inner]\n"
        'instructions = """\n'
        'Say "hi".\n'
        'Then ""\\"quote""\\" C:\\\\temp\n'
        "\n"
        "  indented\ttab\n"
        '"""\n'
        "shots = [\n"
        '    { q = "2+2", a = 4 },\n'
        f'    {{ q = "{"a long one " * 5}", a = {{}} }},\n'
        "]\n"
        'stop = ["a", "b"]\n'
        "\n"
        "[steps.0]\n"
        "on = true\n"
    )


TEXTS = [
    "\n",
    "\nx",
    "x \n ",
    "x\r\ny",
    "\r",
    "a\n\rb",
    '"',
    '""""\n"',
    "\n\\",
    "\t\n",
    "\x00\x1b\n\x7f",
    "#\n",
    "'''\n",
    "\u2028\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_line_ends_quotes_and_control_characters_come_back(tmp_path, text):
    state.save({"k": text, "l": [text], "d": {text: text}, text: 1}, tmp_path / "s.toml")
    assert state.load(tmp_path / "s.toml") == {"k": text, "l": [text], "d": {text: text}, text: 1}


def test_a_dict_value_is_not_a_table_of_keys(tmp_path):
    values = {"a": {"b": 1}, "c.b": 1, "e": {}, "l": [{"m": {}}]}
    assert saved_text(tmp_path, values) == "a = { b = 1 }\ne = {}\nl = [{ m = {} }]\n\n[c]\nb = 1\n"
    assert state.load(tmp_path / "s.toml") == values


def test_a_key_may_be_a_value_and_a_table_at_once(tmp_path):
    values = {"a": 1, "a.b": 2, "a.b.c.d": 3, "": 4, ".": 5, "x.": 6, ".x": 7, "a.c.d": 8}
    state.save(values, tmp_path / "s.toml")
    assert state.load(tmp_path / "s.toml") == values


def test_a_key_of_very_many_parts_comes_back(tmp_path):
    values = {"." * 10_000: 1, ".".join("a" * 5_000): 2, "a.a": 3}
    state.save(values, tmp_path / "s.toml")
    state.save(values | {"a.a": 4}, tmp_path / "s.toml")
    assert state.load(tmp_path / "s.toml") == values | {"a.a": 4}


def test_numbers_keep_their_type_sign_and_size(tmp_path):
    values = {"a": 1, "b": 1.0, "c": -0.0, "d": 10**4000, "e": 5e-324, "f": 1e16, "g": math.inf, "h": -math.inf}
    state.save(values, tmp_path / "s.toml")
    assert exact(state.load(tmp_path / "s.toml")) == exact(values)


@pytest.mark.parametrize(
    ("value", "says"),
    [(None, "TOML has no None"), ([{"x": None}], "TOML has no None"), ("\ud800", "surrogate"), (10**5000, "4300")],
    ids=["None", "None within", "surrogate", "digits"],
)
def test_what_toml_cannot_hold_is_refused_with_its_key(tmp_path, value, says):
    with pytest.raises(StateFileError, match=f"'a.b' cannot be written as TOML: .*{says}"):
        state.save({"fine": 1, "a.b": value}, tmp_path / "s.toml")
    with pytest.raises(StateFileError, match="surrogate"):
        state.save({"fine": 1, "k\udc80": 1}, tmp_path / "s.toml")
    assert not list(tmp_path.iterdir())


HAND_EDITED = """\
# reviewed by legal

instructions   =   'Be kind'   # short is good
# about the flow
flux = "a -> b"

[inner] # the inner one
b = 1  # one
# between
a = 2

# about steps
["steps".0]
response = "Yes"
"""
HELD = {"instructions": "Be kind", "flux": "a -> b", "inner.b": 1, "inner.a": 2, "steps.0.response": "Yes"}


def test_saving_what_is_there_changes_nothing(tmp_path):
    assert edited(tmp_path, HAND_EDITED, dict(reversed(HELD.items()))) == HAND_EDITED


def test_a_changed_value_keeps_its_place_and_all_comments(tmp_path):
    text = edited(tmp_path, HAND_EDITED, HELD | {"instructions": "Be\nformal", "inner.b": [1]})
    changed = HAND_EDITED.replace("'Be kind'", '"""\nBe\nformal"""').replace("b = 1 ", "b = [1] ")
    assert text == changed


def test_a_vanished_key_goes_and_the_comments_of_others_stay(tmp_path):
    left = {key: value for key, value in HELD.items() if key not in ("flux", "inner.b", "steps.0.response")}
    text = edited(tmp_path, HAND_EDITED, left)
    assert text == (
        "# reviewed by legal\n\ninstructions   =   'Be kind'   # short is good\n# about the flow\n\n"
        "[inner] # the inner one\n# between\na = 2\n\n# about steps\n"
    )


def test_the_comment_of_a_header_outlives_its_table(tmp_path):
    text = edited(tmp_path, HAND_EDITED, {"flux": "a -> b"})
    assert "[" not in text and "# the inner one\n# between\n" in text


def test_new_keys_join_their_tables_and_new_tables_their_relatives(tmp_path):
    text = edited(tmp_path, HAND_EDITED, {**HELD, "inner.new": 3, "top": 4, "inner.deep.x": 5, "last.y": 6})
    assert (
        text
        == HAND_EDITED.replace('flux = "a -> b"\n', 'flux = "a -> b"\ntop = 4\n').replace(
            "a = 2\n\n# about", "a = 2\nnew = 3\n\n[inner.deep]\nx = 5\n\n# about"
        )
        + "\n[last]\ny = 6\n"
    )


def test_new_keys_stay_behind_the_opening_comment_of_a_file(tmp_path):
    assert edited(tmp_path, "# about all\n\n# about a\n[a]\n", {"k": 1}) == "# about all\n\nk = 1\n# about a\n[a]\n"
    assert edited(tmp_path, "# about a\n[a]\n# in a\n", {"a.k": 1}) == "# about a\n[a]\nk = 1\n# in a\n"


def test_new_keys_join_tables_made_by_dotted_keys(tmp_path):
    text = edited(tmp_path, "a.b = 1\n[t]\nc.d = 1\n", {"a.b": 1, "a.x": 2, "a.y.z": 3, "t.c.d": 1, "t.c.e": 2})
    assert text == "a.b = 1\na.x = 2\na.y.z = 3\n[t]\nc.d = 1\nc.e = 2\n"


def test_indented_tables_are_edited_as_others(tmp_path):
    text = edited(tmp_path, "  [a]\n    b = 1\n  [[c]]\n    d = 1\n", {"a.b": 2, "a.x": 3, "c": []})
    assert text == "c = []\n  [a]\n    b = 2\nx = 3\n"


def test_windows_line_ends_are_kept_and_are_not_part_of_prompts(tmp_path):
    text = '# note\r\na = """\r\nx\r\ny"""\r\n'
    (tmp_path / "s.toml").write_bytes(text.encode())
    assert state.load(tmp_path / "s.toml") == {"a": "x\ny"}
    assert edited(tmp_path, text, {"a": "x\nz", "b": "\r\n"}) == (
        '# note\r\na = """\r\nx\r\nz"""\r\nb = """\r\n\\r\r\n"""\r\n'
    )
    assert state.load(tmp_path / "s.toml") == {"a": "x\nz", "b": "\r\n"}


def test_an_array_of_tables_is_a_list_of_dicts(tmp_path):
    text = "[a]\nk = 1\n[[a.shots]] # first\nq = 1\n[a.shots.meta]\n# note\nx = 1\n[[a.shots]]\n[z]\nk = 2\n"
    held = {"a.k": 1, "a.shots": [{"q": 1, "meta": {"x": 1}}, {}], "z.k": 2}
    (tmp_path / "s.toml").write_text(text)
    assert state.load(tmp_path / "s.toml") == held
    assert edited(tmp_path, text, held | {"a.k": 5}) == text.replace("k = 1", "k = 5")
    changed = edited(tmp_path, text, held | {"a.shots": [{"q": 2}]})
    assert changed == "[a]\nk = 1\nshots = [{ q = 2 }]\n# first\n# note\n[z]\nk = 2\n"


def test_a_value_may_take_the_name_of_a_table(tmp_path):
    text = edited(tmp_path, "[a] # table\nb = 1 # one\n[a.c]\n[[a.d]]\n", {"a": 0, "a.b": 1, "a.d": [{}]})
    assert text == 'a = 0\n"a.b" = 1 # one\n"a.d" = [{}]\n# table\n'


@pytest.mark.parametrize("values", [{"a.b": [{}], "a.b.c": 3}, {"a.b": [{}]}, {"a.b.c": 2}, {"a.b": 1, "a.b.d": 2}])
def test_two_tables_of_one_name_are_told_apart(tmp_path, values):
    text = '[[a.b]]\n["a.b"]\nc = 2\n'
    (tmp_path / "s.toml").write_text(text)
    assert state.load(tmp_path / "s.toml") == {"a.b": [{}], "a.b.c": 2}
    edited(tmp_path, text, values)
    assert state.load(tmp_path / "s.toml") == values


@pytest.mark.parametrize("value", ["1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", "[{ x = 1979-05-27 }]"])
def test_a_date_in_a_file_is_refused_with_its_key(tmp_path, value):
    (tmp_path / "s.toml").write_text(f"[a]\nb = {value}\n")
    with pytest.raises(StateFileError, match=r"s\.toml: 'a\.b'.*quotes"):
        state.load(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('a = 1\nb = "cut\n', "line 2"),
        ('a = """\ncut off\n', "end of document"),
        ("a = 1\na = 2", "Cannot overwrite"),
        ('"a.b" = 1\n[a]\nb = 2', "'a.b' is there twice"),
        ("a = " + "[" * 5000, "nested"),
        ("a = " + "1" * 5000, "not valid TOML"),
        ("a = 1." + "1" * 5001, "line 1: a number or a key without quotes"),
        ("[" + ".".join("a" * 3000) + "]\nx = 1", "not valid TOML"),
    ],
)
def test_a_file_that_is_no_state_is_refused_and_never_written_over(tmp_path, text, says):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(StateFileError, match=says) as caught:
        state.load(path)
    assert "s.toml" in str(caught.value)
    with pytest.raises(StateFileError):
        state.save({"a": 1}, path)
    assert path.read_text() == text


@pytest.mark.parametrize(("text", "says"), [("a = ", "not valid TOML"), ("a = 2\nb = 1\n", "'a' cannot be changed")])
def test_an_edit_that_would_not_be_read_back_exactly_is_refused(tmp_path, monkeypatch, text, says):
    monkeypatch.setattr("msgflow.state.toml_format._edited", lambda *args: text)
    with pytest.raises(StateFileError, match=f"{says}.*save to a new file"):
        state.save({"a": 1, "b": 1}, tmp_path / "s.toml")
    assert not list(tmp_path.iterdir())
