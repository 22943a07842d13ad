"""The version store: commit, log and check out, the same on SQLite and PostgreSQL."""

import getpass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import msgflow as mf
from msgflow.errors import AmbiguousVersion, NotJson, VersionError, VersionNotFound
from msgflow.state.digest import digest
from msgflow.versions import Store
from tests import version_places
from tests.version_places import Prompts

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

A, B = {"prompt": "Be kind."}, {"prompt": "Be brief."}


def alike(digits):
    """Two small states whose ids begin with the same digits."""
    seen = {}
    for number in range(100_000):
        start = digest({"n": number})[:digits]
        if start in seen:
            return {"n": seen[start]}, {"n": number}
        seen[start] = number
    raise AssertionError("no two digests begin alike")


def test_the_id_is_the_digest_of_the_module(store):
    module = Prompts()
    id_ = store.commit(module.state_dict(), "first")
    assert id_ == module.digest() == digest(module.state_dict())
    assert store.checkout(module.digest()) == module.state_dict()


def test_the_digest_in_a_span_finds_the_prompts_that_it_ran_with(store, tracing):
    module = Prompts("Be brief.")
    store.commit(module.state_dict())
    module("hi")
    module.prompt = "changed since"
    assert store.checkout(tracing.spans[0].attributes["msgflow.state.digest"])["prompt"] == "Be brief."


def test_what_is_committed_last_is_not_committed_again(store):
    assert store.commit(A, "one") == store.commit(dict(A), "two")
    assert [version.message for version in store.log()] == ["one"]


def test_going_back_to_an_old_state_is_a_new_entry_under_the_old_id(store):
    ids = [store.commit(state) for state in (A, B, A)]
    assert ids[0] == ids[2] != ids[1]
    assert [version.id for version in store.log()] == ids[::-1]


def test_the_log_is_newest_first_and_can_be_cut(store):
    for number in range(5):
        store.commit({"n": number}, f"m{number}")
    assert [version.message for version in store.log()] == ["m4", "m3", "m2", "m1", "m0"]
    assert [version.message for version in store.log(2)] == ["m4", "m3"]
    assert store.log(0) == []
    with pytest.raises(ValueError, match="not negative; got -1"):
        store.log(-1)


def test_an_entry_says_who_when_why_and_which_tags_point_at_it(store):
    before = datetime.now(UTC)
    message = "Kinder, as legal asked: \u00fc\U0001f600"
    id_ = store.commit(A, message, author="Zo\u00eb")
    store.tag("staging", id_)
    store.tag("production", id_)
    (version,) = store.log()
    assert (version.id, version.message, version.author) == (id_, message, "Zo\u00eb")
    assert version.tags == ("production", "staging")
    assert version.time.utcoffset() == timedelta(0) and before <= version.time <= datetime.now(UTC)
    with pytest.raises(AttributeError):
        version.message = "rewritten"


def test_the_author_is_the_user_of_the_system_unless_given(store, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    store.commit(A)
    store.tag("production", store.commit(B, author="bob"))
    assert [version.author for version in store.log()] == ["bob", "ada"]
    assert store.tag_log("production")[0].author == "ada"


@pytest.mark.parametrize("error", [OSError, KeyError, ImportError])
def test_a_system_without_users_leaves_the_author_empty(tmp_path, monkeypatch, error):
    def nobody():
        raise error("no such user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    store = Store(tmp_path / "prompts.db")
    store.commit(A)
    assert store.log()[0].author == ""


def test_a_version_is_found_by_its_id_the_beginning_of_it_or_a_tag(store):
    id_ = store.commit(A)
    store.commit(B)
    store.tag("production", id_)
    for ref in (id_, id_[:4], id_[:15], id_.upper(), "production"):
        assert store.checkout(ref) == A and store.resolve(ref) == id_


def test_a_beginning_that_several_ids_share_is_refused_with_all_of_them(store):
    ids = [store.commit(state) for state in alike(4)]
    with pytest.raises(AmbiguousVersion, match="Give more digits") as caught:
        store.checkout(ids[0][:4])
    assert caught.value.candidates == sorted(ids) and caught.value.ref == ids[0][:4]
    assert [store.resolve(id_) for id_ in ids] == ids


def test_an_unknown_ref_is_an_error_that_names_what_is_near(store):
    id_ = store.commit(A)
    store.tag("production", id_)
    with pytest.raises(VersionNotFound, match="no version or tag 'prodution'; near it: production") as caught:
        store.checkout("prodution")
    assert caught.value.near == ["production"] and isinstance(caught.value, LookupError)
    typo = id_[:5] + ("0" if id_[5] != "0" else "1")
    with pytest.raises(VersionNotFound, match=f"near it: {id_}"):
        store.checkout(typo)
    with pytest.raises(VersionNotFound, match=r"no version or tag 'zzz'\. log\(\) lists"):
        store.diff(id_, "zzz")


HOSTILE = ["", "abc", "f" * 17, "a\0b", "\ud800", "%", "____", "x" * 100_000, "' OR 1=1 --", "\u0661\u0662\u0663\u0664"]


@pytest.mark.parametrize("ref", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_refs_are_not_found(store, ref):
    store.commit(A)
    with pytest.raises(VersionNotFound) as caught:
        store.checkout(ref)
    assert len(str(caught.value)) < 300


def test_too_few_digits_are_told_so(store):
    with pytest.raises(VersionNotFound, match="at least 4 of its digits"):
        store.checkout(store.commit(A)[:3])


def test_a_checkout_is_a_copy(store):
    id_ = store.commit({"examples": [{"q": 1}]})
    store.checkout(id_)["examples"].append("changed")
    assert store.checkout(id_) == {"examples": [{"q": 1}]}


def test_the_state_that_is_committed_is_not_changed_and_may_be_of_a_module(store):
    module = Prompts()
    state = {"prompt": module.prompt, "limit": module.limit}
    assert store.checkout(store.commit(state)) == {"prompt": "Be helpful.", "limit": 1}
    assert state["prompt"] is module.prompt


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weights": np.zeros(3, complex)}, "'weights' is an array of complex128"),
        ({"weights": [np.zeros(3)]}, r"'weights'\[0\] is of type ndarray"),
        ({"a": {"b": [object()]}}, r"'a'\['b'\]\[0\] is of type object"),
        ({"a": (1, 2)}, "'a' is of type tuple"),
        ({5: "five"}, "the key 5 of type int"),
        ({"n": 10**5000}, "'n' cannot be written as JSON"),
    ],
)
def test_what_no_json_can_hold_is_refused_by_its_key(store, state, message):
    with pytest.raises(NotJson, match=message):
        store.commit(state)
    assert store.log() == []


def test_wrong_types_are_refused(store):
    with pytest.raises(TypeError, match=r"give it module\.state_dict\(\)"):
        store.commit(Prompts())
    with pytest.raises(TypeError, match="named by text"):
        store.checkout(5)
    with pytest.raises(TypeError, match="message is text, not int"):
        store.commit(A, 5)
    with pytest.raises(TypeError, match="author is text, not NoneType"):
        store.commit(A, author=None)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_a_message_that_no_database_keeps_is_refused(store, text):
    with pytest.raises(VersionError, match="which no database keeps"):
        store.commit(A, text)
    with pytest.raises(VersionError, match="which no database keeps"):
        store.commit(A, "fine", author=text)
    assert store.log() == []


def test_an_empty_store_has_no_versions_and_no_tags(store):
    assert store.log() == [] and store.tags() == {}


def test_the_empty_state_and_a_large_one_are_states_as_well(store):
    large = {f"prompt.{number}": "word " * 10_000 for number in range(40)}
    assert store.checkout(store.commit({})) == {}
    assert store.checkout(store.commit(large)) == large


def test_another_store_sees_what_this_one_committed(store, place):
    other = Store(place)
    id_ = store.commit(A)
    assert other.checkout(id_) == A
    assert other.log() == store.log()
    other.close()


async def test_inside_a_flow_the_loop_goes_on_meanwhile(store, door):
    class Keeper(mf.nn.Module):
        def forward(self):
            id_ = store.commit(A)
            store.tag("production", id_)
            return store.checkout("production"), store.tags(), len(store.log()), bool(store.diff(id_, id_))

    state, tags, entries, differs = await door(Keeper())
    assert (state, list(tags), entries, differs) == (A, ["production"], 1, False)
