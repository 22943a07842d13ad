"""Tags: they move, they go back, and their history is kept."""

from datetime import UTC, datetime, timedelta

import pytest

from msgflow.errors import NothingToRollBack, TagNameError, VersionNotFound
from tests import version_places

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path


@pytest.fixture
def ids(store):
    return [store.commit({"n": number}) for number in range(4)]


def test_a_tag_points_where_it_was_set_last(store, ids):
    assert store.tag("production", ids[0]) == ids[0]
    assert store.tag("production", ids[2][:6]) == ids[2]
    store.tag("staging", "production")
    assert store.tags() == {"production": ids[2], "staging": ids[2]}
    store.tag("production", ids[1])
    assert store.tags() == {"production": ids[1], "staging": ids[2]}


def test_rollback_goes_back_step_by_step_and_stops_at_the_first(store, ids):
    for id_ in ids:
        store.tag("production", id_)
    assert [store.rollback("production") for _ in range(3)] == ids[2::-1]
    with pytest.raises(NothingToRollBack, match=f"points at {ids[0]} and at nothing before") as caught:
        store.rollback("production")
    assert caught.value.tag == "production" and store.tags() == {"production": ids[0]}


def test_rollback_after_a_new_move_skips_what_was_undone(store, ids):
    store.tag("production", ids[0])
    store.tag("production", ids[1])
    store.rollback("production")
    store.tag("production", ids[2])
    assert store.rollback("production") == ids[0]


def test_a_tag_that_points_there_already_is_not_moved(store, ids):
    store.tag("production", ids[0])
    store.tag("production", ids[1])
    store.tag("production", ids[1])
    assert len(store.tag_log("production")) == 2
    assert store.rollback("production") == ids[0]


def test_rollback_of_one_tag_leaves_the_others_alone(store, ids):
    for name in ("a", "b"):
        store.tag(name, ids[0])
        store.tag(name, ids[1])
    store.rollback("a")
    assert store.tags() == {"a": ids[0], "b": ids[1]}


def test_the_history_of_a_tag_has_every_move_with_who_and_when(store, ids):
    before = datetime.now(UTC)
    store.tag("production", ids[0], author="ada")
    store.tag("production", ids[1], author="bob")
    store.rollback("production", author="eve")
    newest, oldest = store.tag_log("production")
    assert (newest.tag, newest.id, newest.author, newest.undone_by) == ("production", ids[1], "bob", "eve")
    assert (oldest.id, oldest.author, oldest.undone_at, oldest.undone_by) == (ids[0], "ada", None, "")
    assert before <= oldest.time <= newest.time <= newest.undone_at <= datetime.now(UTC)
    assert newest.time.utcoffset() == newest.undone_at.utcoffset() == timedelta(0)


def test_an_unknown_tag_has_no_history_and_cannot_go_back(store, ids):
    store.tag("production", ids[0])
    for ask in (store.tag_log, store.rollback, store.checkout):
        with pytest.raises(VersionNotFound, match="near it: production"):
            ask("produktion")


def test_a_tag_on_an_unknown_version_is_not_made(store, ids):
    with pytest.raises(VersionNotFound):
        store.tag("production", "nowhere")
    assert store.tags() == {}


@pytest.mark.parametrize("name", ["v1", "abc", "release/2026-01", "\u751f\u4ea7", "z" * 100, "_", "gold!", "';--"])
def test_names_that_a_tag_can_have(store, ids, name):
    store.tag(name, ids[0])
    assert store.resolve(name) == ids[0] and store.tags() == {name: ids[0]}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("beef", "looks like an id"),
        ("DECADE", "looks like an id"),
        ("0" * 40, "looks like an id"),
        ("", "0 characters"),
        ("a" * 101, "101 characters"),
        ("to day", "white space"),
        ("a\nb", "white space"),
        ("a\0", "cannot be seen"),
        ("\ud800", "cannot be seen"),
        ("\u200b", "cannot be seen"),
    ],
)
def test_names_that_no_tag_can_have(store, ids, name, reason):
    for ask in (lambda: store.tag(name, ids[0]), lambda: store.rollback(name), lambda: store.tag_log(name)):
        with pytest.raises(TagNameError, match=reason) as caught:
            ask()
    assert caught.value.name == name and store.tags() == {}


def test_a_name_that_is_no_text_is_refused(store, ids):
    with pytest.raises(TypeError, match="the name of a tag is text, not int"):
        store.tag(5, ids[0])
