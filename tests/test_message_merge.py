"""Merging: the changes of branches that were copies of one Message, in one Message; conflicts; copies of copies."""

import copy
import gc
import itertools
import operator
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow as mf
from msgflow.errors import MessageConflict, MessageError, MessageFrozen
from tests import nested

DATA = {"user": {"text": "hi", "tags": ["a", "b"]}, "items": [{"n": 1}, {"n": 2}], "n": 0}


def sets(path, value):
    return lambda branch: operator.setitem(branch, path, value)


def deletes(path):
    return lambda branch: operator.delitem(branch, path)


def nothing(branch):
    pass


def merge(*changes):
    """What comes of branches that each make one change."""
    message = mf.Message(DATA)
    branches = [message.copy() for _ in changes]
    for branch, change in zip(branches, changes, strict=True):
        change(branch)
    merged = mf.Message.merge(branches)
    assert message == DATA and not merged.frozen
    return merged


# --- disjoint changes, with a nested dict as the oracle --------------------------------------------------------------

names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(st.integers(0, 2), lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6)
own_trees = st.dictionaries(st.sampled_from(["own0", "own1", "own2"]), trees)
origins = st.fixed_dictionaries(
    {}, optional={"shared": own_trees, "own0": trees, "own1": trees, "list": st.lists(trees)}
)
# What a branch does below its own places: set or (None) delete.
own_changes = st.lists(
    st.tuples(
        st.sampled_from(["own{}", "shared.own{}", "new.own{}", "new.deep.own{}"]),
        st.lists(names, max_size=2),
        st.none() | trees,
    ),
    max_size=4,
)


@given(origins, st.lists(own_changes, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_disjoint_changes_merge_in_any_order_to_what_they_make_one_after_the_other(origin, changes):
    message, expected, branches = mf.Message(origin), copy.deepcopy(origin), []
    for number, own in enumerate(changes):
        branch = message.copy()
        for place, way, value in own:
            path = ".".join([place.format(number), *way])
            try:
                nested.delete(expected, path) if value is None else nested.put(expected, path, value)
            except LookupError:
                continue
            deletes(path)(branch) if value is None else sets(path, value)(branch)
        branches.append(branch)
    for order in itertools.permutations(branches):
        assert mf.Message.merge(order) == expected
    assert message == origin


plans = st.recursive(
    st.sampled_from(["set", "copy", "view", "change in place"]),
    lambda inner: st.lists(st.lists(inner, max_size=4), min_size=1, max_size=3),
    max_leaves=12,
)


@given(st.lists(plans, max_size=6))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_branches_of_branches_and_copies_of_copies_merge_to_all_their_changes(plan):
    """A list in a plan is a fork: each of its plans runs on a copy, and the copies are merged."""
    numbers = itertools.count()

    def run(message, plan):
        for step in plan:
            if isinstance(step, list):
                message = mf.Message.merge([run(message.copy(), branch) for branch in step])
            elif step in ("copy", "view"):
                message = getattr(message, step)().copy()
            else:
                message = message.copy() if step == "set" else message
                message[f"set.n{next(numbers)}"] = True
        return message

    message = run(mf.Message(set={}), plan)
    assert message == {"set": {f"n{number}": True for number in range(next(numbers))}}


def test_branches_may_make_the_same_new_dicts():
    merged = merge(sets("answers.first.text", "yes"), sets("answers.second", 2), sets("answers.first.score", 1.0))
    assert merged == {**DATA, "answers": {"first": {"text": "yes", "score": 1.0}, "second": 2}}
    assert list(merged["answers"]) == ["first", "second"]


def test_a_list_of_the_same_length_is_merged_item_by_item():
    assert merge(sets("items.0.n", 5), sets("items.-1.n", 6))["items"] == [{"n": 5}, {"n": 6}]
    assert merge(sets("items.0.m", 5), sets("user.tags.0", "c"), nothing)["items"] == [{"n": 1, "m": 5}, {"n": 2}]


def test_a_deletion_is_a_change():
    assert merge(deletes("user.text"), sets("user.id", 3), deletes("n")) == {
        "user": {"tags": ["a", "b"], "id": 3},
        "items": DATA["items"],
    }
    assert merge(deletes("n"), deletes("n"), nothing) == {"user": DATA["user"], "items": DATA["items"]}


def test_equal_values_are_no_conflict():
    same = {"n": [1, (2, {"x": None})]}
    assert merge(sets("user.new", same), sets("user.new", copy.deepcopy(same)))["user.new"] == same
    assert merge(sets("n", 5), sets("n", 5), sets("user.text", "hi"))["n"] == 5
    assert merge(sets("items", [1]), sets("items", [1]))["items"] == [1]
    assert merge(sets("user", copy.deepcopy(DATA["user"])), deletes("user")) == {"items": DATA["items"], "n": 0}
    array = np.ones(3)
    assert merge(sets("array", array), sets("array", array))["array"] is array


@pytest.mark.parametrize(
    ("first", "second", "key"),
    [
        (sets("n", 1), sets("n", 2), "n"),
        (sets("user.text", "a"), sets("user.text", "b"), "user.text"),
        (sets("new.x.y", 1), sets("new.x.y", 2), "new.x.y"),
        (sets("new", 1), sets("new.x", 2), "new"),
        (sets("user", "nobody"), sets("user.id", 2), "user"),
        (deletes("user"), sets("user.id", 2), "user"),
        (deletes("n"), sets("n", 2), "n"),
        (sets("n", {"a": 1}), sets("n", {"b": 1}), "n"),
        (sets("items.0.n", 5), sets("items.0.n", 6), "items.0.n"),
        (sets("items.0", 5), sets("items.0.n", 6), "items.0"),
        (sets("items", [1, 2, 3]), sets("items.0.n", 6), "items"),
        (deletes("items.0"), deletes("items.1"), "items"),
        (sets("n", True), sets("n", 1), "n"),
        (sets("n", (1, 2)), sets("n", (True, 2)), "n"),
        (sets("n", (1, 2)), sets("n", (1, 2, 3)), "n"),
        (sets("n", np.ones(3)), sets("n", np.ones(3)), "n"),
    ],
)
def test_different_changes_of_one_path_or_below_it_are_a_conflict_that_names_the_path(first, second, key):
    for changes in ((first, nothing, second), (second, nothing, first)):
        with pytest.raises(MessageConflict, match=f"the branches 0 and 2 changed '{key}' differently") as caught:
            merge(*changes)
        error = pickle.loads(pickle.dumps(caught.value))
        assert error.key == key and error.branches == (0, 2) and isinstance(error, ValueError)


def test_a_conflict_shows_what_each_branch_did():
    with pytest.raises(MessageConflict) as caught:
        merge(sets("n", "x" * 1_000), nothing, deletes("n"), sets("n", 3))
    assert str(caught.value) == (
        f"the branches 0, 2 and 3 changed 'n' differently (0: '{'x' * 59}, 2: deleted, 3: 3). "
        "Let each write to a path of its own, and choose between them after the merge"
    )


def test_a_value_of_another_type_is_a_change_even_where_it_is_equal():
    assert merge(sets("n", False), nothing)["n"] is False and merge(sets("n", 0.0), sets("x", 1))["n"] == 0
    assert type(merge(sets("n", 0.0), sets("x", 1))["n"]) is float


def test_views_can_be_branches_and_so_can_the_message_itself():
    message = mf.Message(n=1)
    changed = message.copy()
    changed["m"] = 2
    assert mf.Message.merge([message.view(), changed.view(), message]) == {"n": 1, "m": 2}
    assert mf.Message.merge([message]) == message and mf.Message.merge(iter([changed])) == changed


def test_what_is_merged_is_not_changed_with_the_branches():
    message = mf.Message(a={"x": 1})
    first, second = message.copy(), message.copy()
    first["a.y"], second["b"] = 2, 3
    merged = mf.Message.merge([first, second])
    first["a.y"], second["b"], merged["a.x"] = 20, 30, 10
    assert merged == {"a": {"x": 10, "y": 2}, "b": 3} and first["a.x"] == 1 == message["a.x"]


def test_a_branch_that_takes_back_an_older_value_has_changed_it():
    """The branches come from the state in which n is 2; that it was 1 before, in a Message they all share, is past."""
    message = mf.Message(n=1)
    later = message.copy()
    later["n"] = 2
    back, other = later.copy(), later.copy()
    back["n"], other["m"] = 1, 0
    assert mf.Message.merge([back, other]) == {"n": 1, "m": 0}


def test_branches_of_a_message_that_had_other_branches_before_a_change_merge():
    message = mf.Message()
    before = message.copy()
    message["n"] = 1
    first = message.copy()
    first["a"] = 1
    first = first.copy()
    second = message.copy()
    second["b"] = 2
    assert mf.Message.merge([first, second]) == {"n": 1, "a": 1, "b": 2} and before == {}


def test_merged_branches_can_be_merged_with_the_rest():
    message = mf.Message()
    branches = [message.copy() for _ in range(3)]
    for number, branch in enumerate(branches):
        branch[f"n{number}"] = number
    two = mf.Message.merge(branches[:2])
    assert mf.Message.merge([two, branches[2]]) == {"n0": 0, "n1": 1, "n2": 2}


def test_branches_come_back_from_other_processes():
    message = mf.Message(DATA)
    sent = [pickle.loads(pickle.dumps(message.copy())) for _ in range(2)]
    sent[0]["user.id"], sent[1]["items.0.n"] = 3, 5
    back = [pickle.loads(pickle.dumps(branch)) for branch in sent]
    merged = mf.Message.merge([*back, message.copy()])
    assert merged == {**DATA, "user": {**DATA["user"], "id": 3}, "items": [{"n": 5}, {"n": 2}]}


def test_branches_of_different_states_are_refused():
    message = mf.Message(n=1)
    first = message.copy()
    message["n"] = 2
    for branches in (
        [first, message.copy()],
        [mf.Message(a=1), mf.Message(b=2)],
        [first, mf.Message()],
    ):
        with pytest.raises(ValueError, match="have no state in common; branches are copies of one Message"):
            mf.Message.merge(branches)


def test_branches_are_messages_and_at_least_one():
    with pytest.raises(ValueError, match="there are no branches to merge"):
        mf.Message.merge([])
    for branches in ([mf.Message(), {}], mf.Message(a=1), "text"):
        with pytest.raises(TypeError, match="branches are Messages, copies of one, not"):
            mf.Message.merge(branches)


def test_frozen_branches_can_be_taken_and_written_to_in_copies_only():
    view = mf.Message(n=1).view()
    branch = view.copy()
    branch["m"] = 2
    with pytest.raises(MessageFrozen):
        view["m"] = 2
    assert mf.Message.merge([view, branch]) == {"n": 1, "m": 2}


def test_a_key_that_is_no_text_is_merged_as_any_other():
    message = mf.Message(table={1: "a", 2: "b"})
    first, second = message.copy(), message.copy()
    first["table"], second["table"] = {1: "x", 2: "b"}, {1: "a", 2: "b", 3: "c"}
    assert mf.Message.merge([first, second]) == {"table": {1: "x", 2: "b", 3: "c"}}
    first["table"], second["table"] = {1: "x"}, {1: "y"}
    with pytest.raises(MessageConflict) as caught:
        mf.Message.merge([first, second])
    assert caught.value.key == "table.1"


def test_copies_that_are_taken_and_changed_in_many_threads_merge():
    message = mf.Message(shared={})

    def work(number):
        branch = message.copy().copy()
        branch[f"shared.n{number}"] = number
        return branch.copy()

    with ThreadPoolExecutor(16) as threads:
        branches = list(threads.map(work, range(200)))
    gc.collect()
    assert mf.Message.merge(branches)["shared"] == {f"n{number}": number for number in range(200)}


def test_a_merge_looks_only_at_what_was_changed():
    message = mf.Message({f"docs{number}": {f"k{n}": n for n in range(1_000)} for number in range(200)})
    branches = [message.copy() for _ in range(2)]
    branches[0]["docs1.new"], branches[1]["docs2.new"] = 1, 1
    start = time.perf_counter()
    for _ in range(20):
        merged = mf.Message.merge(branches)
    assert merged["docs5"] is message["docs5"] and time.perf_counter() - start < 1


def test_a_merge_is_never_deeper_than_its_branches():
    message = mf.Message()
    branches = [message.copy(), message.copy()]
    for number, branch in enumerate(branches):
        branch[".".join([*["a"] * 98, f"n{number}"])] = [1]
    merged = mf.Message.merge(branches)
    with pytest.raises(MessageError, match="at most 100 levels deep"):
        merged["one.more"] = merged["a"]
