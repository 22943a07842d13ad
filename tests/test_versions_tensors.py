"""Versions of states with tensors: exact, each tensor stored once, compared by their numbers, followed."""

import sqlite3

import numpy as np
import pytest
from sqlalchemy import create_engine, text

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import NotJson, VersionDamaged
from msgflow.state.digest import digest
from msgflow.versions import Store, split, tensor_table
from tests import version_places
from tests.eventually import eventually

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path


class Router(nn.Module):
    def __init__(self, number=0.0):
        super().__init__()
        self.prompt = nn.Parameter(f"Route {number:g}")
        self.weight = nn.Parameter(mt.tensor([[number] * 3] * 2))
        self.scale = mt.tensor([number], mt.bfloat16)
        self.register_buffer("ids", mt.tensor([int(number)]))

    def forward(self):
        return self.prompt, self.weight.tolist()[0][0], self.scale.item(), self.ids.item()


ALL = {
    "zero axes": np.array(2.5),
    "no numbers": np.zeros((0, 3), "float32"),
    "turned": np.arange(6, dtype="int16").reshape(2, 3).T,
    "text": "between",
    "big-endian": np.arange(3, dtype=">f8"),
    "bits": np.array([0x7FF8000000000001, 0x8000000000000000], "uint64").view("float64"),
    "bool": np.array([True, False]),
    "key \0 \ud800": np.ones(1, "uint8"),
    "nested": {"a": [1, None]},
}


def sql(place, *statements):
    """What a statement gives, on either database."""
    url = place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
    engine = create_engine(url)
    with engine.begin() as connection:
        rows = [connection.execute(text(statement)) for statement in statements][-1]
        found = rows.all() if rows.returns_rows else []
    engine.dispose()
    return found


# --- commit and checkout ---------------------------------------------------------------------------------------------


def test_tensors_come_back_to_the_bit_between_the_values_that_they_were_between(store):
    loaded = store.checkout(store.commit(ALL))
    assert list(loaded) == list(ALL) and (loaded["text"], loaded["nested"]) == ("between", {"a": [1, None]})
    for key in ALL.keys() - {"text", "nested"}:
        assert (loaded[key].dtype.name, loaded[key].shape) == (ALL[key].dtype.name, ALL[key].shape)
        assert loaded[key].tobytes() == ALL[key].astype(ALL[key].dtype.newbyteorder("=")).tobytes()


def test_bfloat16_comes_back_as_a_tensor(store):
    loaded = store.checkout(store.commit(Router(0.1).state_dict()))
    assert isinstance(loaded["scale"], mt.Tensor) and loaded["scale"].raw()[1].tolist() == [0x3DCD]
    assert isinstance(loaded["weight"], np.ndarray)


def test_the_id_is_the_digest_of_the_module_and_of_its_file(store, tmp_path):
    router = Router(1.0)
    id_ = store.commit(router.state_dict())
    mf.save(router.state_dict(), tmp_path / "router")
    assert id_ == router.digest() == store.commit(mf.load(tmp_path / "router")) == digest(store.checkout(id_))
    assert len(store.log()) == 1


def test_equal_tensors_are_stored_once(store, place):
    large = np.arange(100.0)
    for prompt in ("a", "b"):
        store.commit({"prompt": prompt, "w": large, "tied": large.copy(), "n": np.zeros(int(prompt == "b"))})
    store.commit(
        {"prompt": "c", "w": large.astype("float32"), "bits": large.view("int64"), "square": large.reshape(10, 10)}
    )
    assert [row[0] for row in sql(place, "SELECT count(*) FROM msgflow_tensors")] == [6]


def test_a_tensor_of_many_parts_is_put_together_again(store, place, monkeypatch):
    monkeypatch.setattr(tensor_table, "PART_BYTES", 7)
    id_ = store.commit({"w": np.arange(9)})
    assert sql(place, "SELECT count(*), max(part) FROM msgflow_tensors") == [(11, 10)]
    assert store.checkout(id_)["w"].tolist() == list(range(9))


def test_a_state_of_very_many_tensors_is_kept(store, monkeypatch):
    monkeypatch.setattr(tensor_table, "ASKED_AT_ONCE", 4)
    state = {f"w{number}": np.array([number]) for number in range(10)}
    first = store.commit(state)
    assert store.checkout(store.commit(state | {"more": "text"}))["w9"].tolist() == [9]
    assert store.checkout(first).keys() == state.keys()


def test_a_store_from_before_there_were_tensors_takes_them(store, place):
    old = store.commit({"prompt": "Be kind."})
    sql(place, "DROP TABLE msgflow_tensors")
    other = Store(place)
    assert other.checkout(old) == {"prompt": "Be kind."} and other.checkout(other.commit({"n": 1})) == {"n": 1}
    assert other.checkout(other.commit({"w": np.arange(2)}))["w"].tolist() == [0, 1]
    other.close()


def test_a_state_without_tensors_is_stored_as_it_always_was(store, place):
    store.commit({"prompt": "Be kind.", "n": 1})
    assert bytes(sql(place, "SELECT state FROM msgflow_states")[0][0]) == b'{"prompt":"Be kind.","n":1}'


def test_what_no_store_can_keep_is_refused_by_its_key(store):
    with pytest.raises(NotJson, match="'w' is an array of complex128"):
        store.commit({"w": np.zeros(2, complex)})
    with pytest.raises(NotJson, match=r"'heads'\[0\] is of type Tensor.*a name of its own"):
        store.commit({"heads": [mt.zeros(2)]})
    assert store.log() == []


DAMAGE = {
    "other numbers": "UPDATE msgflow_tensors SET data = x'00000000000000000100000000000000'",
    "fewer numbers": "UPDATE msgflow_tensors SET data = x'00'",
    "text": "UPDATE msgflow_tensors SET data = 'text'",
    "none": "DELETE FROM msgflow_tensors",
    "another type": "UPDATE msgflow_states SET state = CAST(replace(CAST(state AS TEXT), 'int64', 'float64') AS BLOB)",
    "unknown type": "UPDATE msgflow_states SET state = CAST(replace(CAST(state AS TEXT), 'int64', 'int65') AS BLOB)",
    "another shape": "UPDATE msgflow_states SET state = CAST(replace(CAST(state AS TEXT), '[2]', '[1]') AS BLOB)",
    "no shape": "UPDATE msgflow_states SET state = CAST(replace(CAST(state AS TEXT), '[2]', '[{}]') AS BLOB)",
    "infinite shape": "UPDATE msgflow_states SET state = CAST(replace(CAST(state AS TEXT), '[2]', '[1e999]') AS BLOB)",
    "no entry": "UPDATE msgflow_states SET state = CAST('[5]' AS BLOB)",
    "an entry of one": """UPDATE msgflow_states SET state = CAST('[["w"]]' AS BLOB)""",
    "no keys": """UPDATE msgflow_states SET state = CAST('[[5, 1], ["w", 2]]' AS BLOB)""",
    "nested without end": f"UPDATE msgflow_states SET state = CAST('{100_000 * '['}' AS BLOB)",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_tensors_that_were_edited_in_the_database_are_not_used(tmp_path, damage):
    store = Store(tmp_path / "prompts.db")
    id_ = store.commit({"w": np.array([1, 2])})
    with sqlite3.connect(tmp_path / "prompts.db") as connection:
        assert connection.execute(damage).rowcount == 1
    connection.close()
    with pytest.raises(VersionDamaged, match="edited by hand") as caught:
        store.checkout(id_)
    assert caught.value.id == id_


# --- diff ------------------------------------------------------------------------------------------------------------


def lines(store, before, after):
    found = store.diff(store.commit(before), store.commit(after))
    return found, [line for line in str(found).splitlines() if line[:3] not in ("---", "+++")]


def test_tensors_differ_by_how_far_their_numbers_are_apart(store):
    before = {"same": np.zeros(4), "w": np.zeros((2, 4), "float32"), "prompt": "a"}
    after = {**before, "w": np.array([[0, 0, 0.25, -0.125], [0, 0, 0, -0.0]], "float32")}
    found, shown = lines(store, before, after)
    assert list(found.changed) == ["w"] and found.changed["w"][1][0, 2] == 0.25
    assert shown == [
        "@@ -1 +1 @@",
        "-tensor float32 (2, 4), 0 to 0, mean 0",
        "+tensor float32 (2, 4), -0.125 to 0.25, mean 0.015625; 3 of 8 numbers changed, by at most 0.25",
    ]


SHOWN = {
    "bfloat16": (
        mt.tensor([1.0, 2.0], mt.bfloat16),
        mt.tensor([1.0, 4.0], mt.bfloat16),
        "1 of 2 numbers changed, by at most 2",
    ),
    "bool": (np.array([True, False]), np.array([False, False]), "0 of 2 true; 1 of 2 numbers changed"),
    "largest int": (np.array([2**62]), np.array([-(2**62)]), "by at most 9.22337e+18"),
    "infinite": (np.array([1.0, 2.0]), np.array([np.inf, 2.5]), "by at most 0.5, some from or to no finite number"),
    "NaN to NaN": (np.array([np.nan]), np.array([0x7FF8000000000001], "uint64").view("float64"), "1 of 1 numbers"),
    "no longer finite": (np.zeros(2), np.array([np.nan] * 2), "+tensor float64 (2,), 2 not finite; 2 of 2"),
    "zero axes": (
        np.array(1.0),
        np.array(3.0),
        "+tensor float64 (), 3 to 3, mean 3; 1 of 1 numbers changed, by at most 2",
    ),
    "another shape": (np.zeros(2), np.zeros(3), "+tensor float64 (3,), 0 to 0, mean 0"),
    "empty": (np.zeros(2), np.zeros(0), "+tensor float64 (0,), empty"),
    "another type": (np.zeros(2), np.zeros(2, "int8"), "+tensor int8 (2,), 0 to 0, mean 0"),
    "text to tensor": ("text", np.zeros(1), '-"text"'),
}


@pytest.mark.parametrize(("before", "after", "said"), SHOWN.values(), ids=SHOWN)
def test_a_difference_of_any_tensors_can_be_shown(tmp_path, before, after, said):
    store = Store(tmp_path / "prompts.db")
    assert said in "\n".join(lines(store, {"w": before}, {"w": after})[1])


def test_a_difference_is_found_in_every_part_of_a_large_tensor(store, monkeypatch):
    monkeypatch.setattr("msgflow.state.summary.STEP", 3)
    shown = lines(store, {"w": np.arange(8)}, {"w": np.arange(8) + np.array([1, 0, 0, 0, 3, 0, 0, 2])})[1]
    assert shown[-1].endswith("; 3 of 8 numbers changed, by at most 3")


def test_only_what_differs_is_read(tmp_path):
    store = Store(tmp_path / "prompts.db")
    ids = [store.commit({"same": np.arange(9), "prompt": prompt}) for prompt in "ab"]
    sql(str(tmp_path / "prompts.db"), "DELETE FROM msgflow_tensors")
    assert list(store.diff(*ids).changed) == ["prompt"]


# --- running modules -------------------------------------------------------------------------------------------------


def test_a_module_goes_where_a_tag_goes_with_text_and_tensors(store):
    router = Router()
    first, second = (store.commit(Router(number).state_dict()) for number in (1.0, 2.0))
    misfit = store.commit({**Router(3.0).state_dict(), "weight": mt.zeros((3, 2))})
    store.tag("production", first)
    with store.follow(router, "production", poll_s=0.01) as follower:
        assert router() == ("Route 1", 1, 1, 1)
        store.tag("production", second)
        eventually(lambda: router() == ("Route 2", 2, 2, 2))
        store.tag("production", misfit)
        eventually(lambda: follower.refused is not None)
        assert "weight: expected float32 (2, 3), got float32 (3, 2)" in str(follower.refused.error)
        assert router() == ("Route 2", 2, 2, 2)
        store.rollback("production")
        store.rollback("production")
        eventually(lambda: router() == ("Route 1", 1, 1, 1))


def test_a_folder_of_text_and_tensors_is_watched_and_committed(tmp_path):
    store, router = Store(tmp_path / "prompts.db"), Router()
    mf.save(Router(1.0).state_dict(), tmp_path / "router")
    with store.watch(router, tmp_path / "router", poll_s=0.01):
        assert router() == ("Route 1", 1, 1, 1)
        mf.save(Router(2.0).state_dict(), tmp_path / "router")
        eventually(lambda: router() == ("Route 2", 2, 2, 2))
        eventually(lambda: len(store.log()) == 2)
    assert store.log(1)[0].id == router.digest()


def test_a_share_of_the_calls_runs_on_the_tensors_of_a_version(tmp_path):
    store, router = Store(tmp_path / "prompts.db"), Router()
    store.tag("new", store.commit(Router(1.0).state_dict()))
    with split(router, {"new": 1.0}, key=lambda: "user", source=store):
        assert router() == ("Route 1", 1, 1, 1)
