"""What differs between two versions, and how it is shown."""

import math

import pytest

from tests import version_places

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path


def diff(store, before, after):
    return store.diff(store.commit(before), store.commit(after))


def test_keys_that_were_added_removed_and_changed(store):
    found = diff(store, {"same": 1, "old": [1], "n": 1}, {"same": 1, "n": 2, "new": {"a": None}})
    assert (found.added, found.removed, found.changed) == ({"new": {"a": None}}, {"old": [1]}, {"n": (1, 2)})
    assert found


def test_a_version_does_not_differ_from_itself(store):
    id_ = store.commit({"n": math.nan, "p": "text"})
    store.tag("production", id_)
    found = store.diff(id_[:4], "production")
    assert not found and str(found) == "" and found.a == found.b == id_


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ("5", 5)])
def test_values_that_python_takes_for_equal_are_told_apart(store, one, other):
    assert diff(store, {"n": [one]}, {"n": [other]}).changed == {"n": ([one], [other])}


def test_the_order_of_keys_is_no_difference(store):
    found = diff(store, {"settings": {"a": 1, "b": 2}, "n": 1}, {"n": 2, "settings": {"b": 2, "a": 1}})
    assert found.changed == {"n": (1, 2)}


def test_a_prompt_is_shown_line_by_line(store):
    found = diff(
        store, {"steps.0.prompt": "Translate.\nKeep lines.\nBe kind."}, {"steps.0.prompt": "Translate.\nBe kind."}
    )
    assert str(found).splitlines() == [
        f"--- steps.0.prompt\t{found.a}",
        f"+++ steps.0.prompt\t{found.b}",
        "@@ -1,3 +1,2 @@",
        " Translate.",
        "-Keep lines.",
        " Be kind.",
    ]


def test_what_came_and_what_went_is_shown_whole(store):
    found = diff(store, {"old": "a\nb"}, {"new": {"t": "\u00fc"}})
    assert str(found).splitlines() == [
        f"--- old\t{found.a}",
        "+++ /dev/null",
        "@@ -1,2 +0,0 @@",
        "-a",
        "-b",
        "--- /dev/null",
        f"+++ new\t{found.b}",
        "@@ -0,0 +1,3 @@",
        "+{",
        '+  "t": "\u00fc"',
        "+}",
    ]


def test_text_and_a_number_of_the_same_letters_look_different(store):
    assert str(diff(store, {"n": 5}, {"n": "5"})).splitlines()[-2:] == ["-5", '+"5"']


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [("a", "a\n", ["+"]), ("a\nb", "a\r\nb", ["-a", "+a\\r"]), ("", "\0", ["-", "+\\x00"])],
)
def test_no_change_is_invisible(store, before, after, lines):
    shown = str(diff(store, {"p": before}, {"p": after})).splitlines()[3:]
    assert [line for line in shown if line[0] != " "] == lines


def test_control_characters_do_not_reach_the_terminal(store):
    shown = str(diff(store, {"k\x1b[2J": "\x1b]0;owned\x07\ttab"}, {"k\x1b[2J": "\ud800"}))
    assert "\x1b" not in shown and "\x07" not in shown and "\\x1b]0;owned\\x07\ttab" in shown
    assert shown.encode() and "+\\ud800" in shown
