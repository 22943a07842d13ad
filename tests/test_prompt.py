"""Rendering is one pass of plain substitution: what a value brings is never itself rendered."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from msgflow.nn.prompt import prompt_version, render

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
braces = st.text(alphabet="{} \nab%$\\1", max_size=20)


def test_each_variable_is_replaced_with_and_without_spaces():
    assert render("{{a}} {{ a }} {{\ta\n}} {{b}}", {"a": 1, "b": "two"}) == "1 1 1 two"


def test_braces_that_are_no_given_variable_stay():
    text = '{a} {{}} {{ c }} {{ 1a }} {{ a.b }} {{ a b }} {{% raw %}} {{a} }} {"json": {"a": 1}}'
    assert render(text, {"a": "X", "1a": "X", "a.b": "X"}) == text


def test_triple_braces_render_the_inner_pair():
    assert render("{{{a}}}", {"a": "X"}) == "{X}"


def test_names_may_be_in_any_script():
    assert render("{{ größe }} {{ 名前 }}", {"größe": 1, "名前": 2}) == "1 2"


def test_without_values_the_text_is_given_back():
    assert render("{{ a }}", None) == render("{{ a }}", {}) == "{{ a }}"


def test_every_value_becomes_its_text():
    assert render("{{a}} {{b}} {{c}}", {"a": None, "b": [1], "c": 0}) == "None [1] 0"


@given(st.dictionaries(names, braces | names.map("{{{{ {} }}}}".format), min_size=1), st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_value_is_never_itself_rendered(values, data):
    """Against an oracle that puts the pieces together one by one."""
    pieces = data.draw(st.lists(st.sampled_from(sorted(values)) | st.sampled_from(["; ", "text ", "."]), max_size=8))
    template = "".join(f"{{{{ {piece} }}}}" if piece in values else piece for piece in pieces)
    expected = "".join(values.get(piece, piece) for piece in pieces)
    assert render(template, values) == expected


@given(st.text(alphabet="{}ab \n", max_size=40))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_text_that_holds_no_given_variable_is_unchanged(text):
    assert render(text, {"zzz": "X"}) == text


def test_a_version_is_twelve_hex_digits_of_the_texts_sha256():
    assert prompt_version("Be kind é") == hashlib.sha256("Be kind é".encode()).hexdigest()[:12]
    assert len(prompt_version("lone surrogate \ud800")) == 12
    assert prompt_version("a") != prompt_version("a ")
