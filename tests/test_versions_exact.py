"""What is checked out is exactly what was committed, and what was tampered with is noticed."""

import json
import math
import re
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
from msgflow.errors import VersionDamaged
from msgflow.state.digest import digest
from msgflow.state.values import same
from msgflow.versions import Store
from tests import version_places

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

texts = st.text(st.characters(exclude_categories=()), max_size=20)  # NUL and surrogates included
numbers = st.integers() | st.integers(10**300, 10**301) | st.floats(allow_nan=True, allow_infinity=True)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
states = st.dictionaries(texts, values, max_size=6)

AWKWARD = {
    "nul": "a\0b",
    "lone surrogates": ["\ud83d", "\ude00", "x\udfffy"],
    "emoji": "\U0001f600",
    "key \0 \ud800": 1,
    "": "",
    "ints": [0, 1, -1, 2**64, 10**4000],
    "floats": [0.0, -0.0, 1.0, 1e308, 5e-324, math.inf, -math.inf, math.nan],
    "others": [True, False, None, {}, [], {"": [{}]}],
    "lines": "a\r\nb\rc\n\u2028\u0085",
}


@given(state=states)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_state_comes_back_as_it_was(store, state):
    assert same(store.checkout(store.commit(state)), state)


def test_so_do_the_awkward_ones(store, place):
    id_ = store.commit(AWKWARD)
    other = Store(place)
    assert same(store.checkout(id_), AWKWARD) and same(other.checkout(id_), AWKWARD)
    other.close()


@given(state=states.filter(lambda state: "x" not in state))
@settings(deadline=None, max_examples=40)
def test_the_digest_is_that_of_a_module_with_this_state(state):
    module = nn.Module()
    for key, value in state.items():
        if key.isidentifier() and not hasattr(module, key):
            module.register_buffer(key, value)
    module.register_buffer("x", state)
    assert digest(module.state_dict()) == module.digest()
    assert re.fullmatch("[0-9a-f]{16}", module.digest())


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ("1", 1), (None, "null"), ([], {})])
def test_values_of_different_types_have_different_ids(store, one, other):
    assert store.commit({"n": one}) != store.commit({"n": other})
    assert len(store.log()) == 2


def test_the_order_of_keys_does_not_matter_and_the_first_one_is_kept(store):
    id_ = store.commit({"b": 1, "a": {"y": 1, "x": 2}})
    assert store.commit({"a": {"x": 2, "y": 1}, "b": 1}) == id_
    assert json.dumps(store.checkout(id_)) == '{"b": 1, "a": {"y": 1, "x": 2}}'
    assert len(store.log()) == 1


def test_two_states_with_one_digest_are_never_mixed_up(store):
    """A pair of surrogates reads as the character that it encodes in JSON, so the two have the same digest."""
    one, other = {"p": "\U0001f600"}, {"p": "\ud83d\ude00"}
    assert one != other and digest(one) == digest(other)
    id_ = store.commit(one)
    with pytest.raises(VersionDamaged, match="taken by another state, so this one was not committed") as caught:
        store.commit(other)
    assert caught.value.id == id_ and store.checkout(id_) == one and len(store.log()) == 1


@pytest.mark.parametrize("damage", [b'{"prompt": "Be evil."}', b'{"prompt": ', b"[]", b"null", b"\xff", b"", "{}", 5])
def test_a_state_that_was_edited_in_the_database_is_not_used(tmp_path, damage):
    store = Store(tmp_path / "prompts.db")
    state = {"prompt": "Be kind."}
    id_ = store.commit(state)
    with sqlite3.connect(tmp_path / "prompts.db") as connection:
        connection.execute("UPDATE msgflow_states SET state = ?", (damage,))
    connection.close()
    with pytest.raises(VersionDamaged, match="the database was edited by hand"):
        store.checkout(id_)
    with pytest.raises(VersionDamaged):
        store.commit(state)
