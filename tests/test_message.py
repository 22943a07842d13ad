"""Message: reading and changing by dotted paths, as in plain nested dicts; frozen ones; copies of the moment."""

import copy
import operator
import pickle
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow as mf
import msgflow.nn as nn
from msgflow.errors import MessageError, MessageFrozen, MessageKeyError, MsgflowError
from tests import nested

parts = st.sampled_from(["a", "0", "-1"])
paths = st.lists(parts, min_size=1, max_size=3).map(".".join)
leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(parts, inner, max_size=3),
    max_leaves=8,
)
trees = st.dictionaries(parts, values, max_size=3)


class Twins:
    """A Message, and a nested dict to which everything is done, too."""

    def __init__(self, tree):
        self.message, self.tree = mf.Message(tree), copy.deepcopy(tree)
        self.seen = []  # what was read, with what it was then

    def both(self, path, change_message, change_tree):
        tree = copy.deepcopy(self.tree)
        try:
            change_tree(tree)
        except LookupError:
            with pytest.raises(MessageError) as caught:
                change_message()
            assert caught.value.key == path
        else:
            change_message()
            self.tree = tree

    def set(self, path, value):
        self.both(path, lambda: operator.setitem(self.message, path, value), lambda tree: nested.put(tree, path, value))

    def delete(self, path, value):
        self.both(path, lambda: operator.delitem(self.message, path), lambda tree: nested.delete(tree, path))

    def update(self, path, value):
        self.both(
            path,
            lambda: self.message.update({"z": value, path: value}),
            lambda tree: (nested.put(tree, "z", value), nested.put(tree, path, value)),
        )

    def get(self, path, value):
        try:
            expected = nested.get(self.tree, path)
        except LookupError:
            assert path not in self.message and self.message.get(path, value) == value
            with pytest.raises(MessageKeyError) as caught:
                self.message[path]
            assert caught.value.key == path
        else:
            assert path in self.message and self.message.get(path) == expected
            self.seen.append((self.message[path], copy.deepcopy(expected)))

    def view(self, path, value):
        self.seen.append((self.message.view(), copy.deepcopy(self.tree)))

    def copy(self, path, value):
        self.seen.append((self.message, copy.deepcopy(self.tree)))
        self.message = self.message.copy()


steps = st.lists(
    st.tuples(st.sampled_from(["set", "delete", "update", "get", "view", "copy"]), paths, values), max_size=12
)


@given(trees, steps)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_changes_give_what_a_nested_dict_gives_and_nothing_that_was_read_before_changes(tree, steps):
    twins = Twins(tree)
    for step, path, value in steps:
        getattr(twins, step)(path, value)
        assert twins.message == twins.tree and list(twins.message) == list(twins.tree)
        assert all(now == then for now, then in twins.seen)
    assert twins.message.to_dict() == twins.tree


def test_a_message_is_made_of_a_mapping_of_paths_and_of_fields():
    message = mf.Message({"user.text": "hi", "user.id": 3}, n=1)
    assert message == {"user": {"text": "hi", "id": 3}, "n": 1} == mf.Message(message)
    assert mf.Message() == {} and len(mf.Message(MappingProxyType({"a": 1}))) == 1
    assert mf.Message([("a", 1), ("b", 2)]) == {"a": 1, "b": 2}


def test_a_message_is_a_mutable_mapping():
    message = mf.Message(a=1, b={"c": 2})
    assert isinstance(message, MutableMapping) and {**message} == {"a": 1, "b": {"c": 2}} == dict(message)
    assert (list(message), len(message), bool(mf.Message())) == (["a", "b"], 2, False)
    assert list(message.items()) == [("a", 1), ("b", {"c": 2})] and "c" not in message
    match message:
        case {"b": {"c": number}}:
            assert number == 2
    assert (message.pop("b.c"), message.pop("b.c", None), message) == (2, None, {"a": 1, "b": {}})
    assert message.popitem() == ("b", {}) and message.setdefault("x.y", 5) == 5 == message.setdefault("x.y", 6)
    message.clear()
    assert message == {}
    for take in (lambda: message.pop("a"), message.popitem):
        with pytest.raises(MessageKeyError):
            take()


def test_equal_is_what_holds_the_same_whatever_it_is():
    message = mf.Message(a={"b": [1]})
    for other in ({"a": {"b": [1]}}, message.view(), mf.Message({"a.b": [1]}), MappingProxyType({"a": {"b": [1]}})):
        assert message == other and other == message
    assert message != {"a": {"b": [2]}} and message != 5 and message != mf.Message()
    with pytest.raises(TypeError, match="unhashable"):
        hash(message)


def test_a_message_shows_as_what_makes_it_again():
    message = mf.Message(a={"b": [1]}, frozen=True)
    assert repr(message) == "Message({'a': {'b': [1]}}, frozen=True)" and repr(mf.Message()) == "Message({})"
    assert eval(repr(message), {"Message": mf.Message}) == message


def test_what_is_put_in_is_not_changed_from_outside():
    items = [1, {"n": 1}]
    message = mf.Message(items=items)
    items.append(2)
    items[1]["n"] = 5
    assert message == {"items": [1, {"n": 1}]}


def test_one_message_may_be_a_value_in_another():
    inner = mf.Message(n=1)
    outer = mf.Message(inner=inner, all=[inner])
    inner["n"] = 2
    outer["inner.m"] = 3
    assert outer == {"inner": {"n": 1, "m": 3}, "all": [{"n": 1}]} and inner == {"n": 2}
    outer["self"] = outer
    assert outer["self.all.0.n"] == 1 and "self" not in outer["self"]


def test_objects_are_kept_as_they_are_and_sets_become_frozen_ones():
    thing, numbers = object(), {1, 2}
    message = mf.Message(thing=thing, pair=([1], thing), numbers=numbers, raw=bytearray(b"x"))
    numbers.add(3)
    assert message["thing"] is thing and message["pair.1"] is thing and message["pair.0.0"] == 1
    assert message["numbers"] == frozenset({1, 2}) and message["raw"] == b"x"
    fixed = (1, "x")
    assert mf.Message(fixed=fixed)["fixed"] is fixed


def test_a_path_reads_on_through_models_dataclasses_and_other_mappings():
    @dataclass
    class Hit:
        text: str
        metadata: Mapping

    class Answer(pydantic.BaseModel):
        scores: dict[str, float]

    message = mf.Message(hit=Hit("red", MappingProxyType({"page": 3})), answer=Answer(scores={"a": 0.5}))
    assert (message["hit.text"], message["hit.metadata.page"], message["answer.scores.a"]) == ("red", 3, 0.5)
    assert "hit.page" not in message and "answer.model_fields" not in message and "hit.__class__" not in message
    with pytest.raises(MessageError, match=r"'hit\.text' cannot be changed: 'hit' is of type Hit"):
        message["hit.text"] = "blue"
    with pytest.raises(MessageError, match="'hit' is of type Hit"):
        del message["hit.text"]


def test_setdefault_gives_what_the_message_holds_so_that_no_change_of_it_is_lost():
    items = mf.Message().setdefault("items", [])
    with pytest.raises(MessageFrozen):
        items.append(1)


def test_errors_are_found_as_what_python_raises_there_and_say_their_text():
    message = mf.Message(user={"text": "hi"}, items=[1, 2], n=1, pair=(1, 2))
    message["docs"] = {"a.b": 1}
    message["many"] = {f"k{number}": number for number in range(20)}
    for key, text in {
        "user.txt": "there is nothing at 'user.txt': 'user' has 'text'",
        "nothing": "there is nothing at 'nothing': the message has 'user', 'items', 'n', 'pair', 'docs', 'many'",
        "items.2": "there is nothing at 'items.2': 'items' has 2 items, counted from 0",
        "pair.x.y": "there is nothing at 'pair.x.y': 'pair' has 2 items, counted from 0",
        "n.x": "there is nothing at 'n.x': 'n' is of type int",
        "docs.a.b": "there is nothing at 'docs.a.b': 'docs' has the key 'a.b', but no path leads to a key with dots; "
        "read it from that dict",
    }.items():
        with pytest.raises(KeyError) as caught:
            message[key]
        assert str(caught.value) == text and caught.value.key == key and isinstance(caught.value, MsgflowError)
    assert message["docs"]["a.b"] == 1
    with pytest.raises(MessageKeyError, match="'k11' and 8 more"):
        del message["many.x"]
    with pytest.raises(ValueError, match="'n' is of type int, of which a Message changes no parts; assign a dict"):
        message["n.x"] = 1
    with pytest.raises(MessageKeyError, match=r"list of 2 items without an item '2'; .* assign a new list to 'items'"):
        message["items.2"] = 1


# --- frozen ----------------------------------------------------------------------------------------------------------

CHANGES = {
    "set": lambda message: operator.setitem(message, "a", 1),
    "set below": lambda message: operator.setitem(message, "new.b", 1),
    "delete": lambda message: operator.delitem(message, "user"),
    "delete nothing": lambda message: operator.delitem(message, "nothing"),
    "update": lambda message: message.update(a=1),
    "update with nothing": lambda message: message.update(),
    "pop": lambda message: message.pop("user"),
    "pop nothing": lambda message: message.pop("nothing", None),
    "popitem": lambda message: message.popitem(),
    "clear": lambda message: message.clear(),
    "setdefault": lambda message: message.setdefault("user", 1),
    "make again": lambda message: message.__init__({"a": 1}),
    "merge in place": lambda message: operator.ior(message["user"], {"a": 1}),
    "a dict in it": lambda message: operator.setitem(message["user"], "text", 1),
    "a list in it": lambda message: message["user.items"].append(1),
    "a dict in a list in it": lambda message: message["user.items"][0].clear(),
    "a dict in a tuple in it": lambda message: message["pair"][0].update(a=1),
    "the keys": lambda message: message["user"].pop("text"),
    "a sorted list": lambda message: message["user.items"].sort(),
    "a longer list": lambda message: operator.iadd(message["user.items"], [1]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("freeze", [lambda data: mf.Message(data, frozen=True), lambda data: mf.Message(data).view()])
def test_a_frozen_message_refuses_every_change(freeze, change):
    data = {"user": {"text": "hi", "items": [{"n": 1}]}, "pair": ({"n": 1},)}
    message = freeze(data)
    with pytest.raises(TypeError) as caught:
        change(message)
    assert isinstance(caught.value, MessageFrozen) and message == data and message.frozen


@pytest.mark.parametrize("name", ["frozen", "_frozen", "_tree", "text"])
def test_no_attribute_of_a_message_can_be_set_or_deleted(name):
    for message in (mf.Message(text=1), mf.Message(text=1, frozen=True)):
        with pytest.raises(AttributeError, match="a value is set as message"):
            setattr(message, name, False)
        with pytest.raises(AttributeError, match="to delete"):
            delattr(message, name)


def test_a_value_is_no_attribute_and_the_error_says_how_to_read_it():
    with pytest.raises(AttributeError, match=r"a value is read as message\['text'\]"):
        mf.Message(text="hi").text  # noqa: B018  # reading it is the test


def test_what_a_changeable_message_holds_cannot_be_changed_behind_its_back_either():
    message = mf.Message(items=[1])
    with pytest.raises(MessageFrozen, match=r"assign to a path, such as message\['items'\] = \[\*items, new\]"):
        message["items"].append(2)
    message["items"] = [*message["items"], 2]
    assert message == {"items": [1, 2]}


# --- copies ----------------------------------------------------------------------------------------------------------


def test_what_was_read_stays_as_it_was():
    message = mf.Message()
    message["user.text"] = "hi"
    message["items"] = [[1]]
    message["items.0.0"] = 2
    held = [message["user"], message.get("items"), dict(message), list(message.values()), message.setdefault("user", 0)]
    then = copy.deepcopy([mf.Message(all=one).to_dict() for one in held])
    message["user.text"], message["items.0.0"], message["user.id"] = "changed", 3, 3
    del message["items.0"]
    assert [mf.Message(all=one) for one in held] == then and message == {
        "user": {"text": "changed", "id": 3},
        "items": [],
    }


def test_a_view_and_a_copy_are_of_the_moment():
    message = mf.Message(n=1, user={"text": "hi"})
    view, twin = message.view(), message.copy()
    message["user.text"] = "changed"
    twin["n"] = 5
    assert view == {"n": 1, "user": {"text": "hi"}} and (view.frozen, twin.frozen) == (True, False)
    assert message["n"] == 1 and twin["user.text"] == "hi" and view.view() is view
    thawed = view.copy()
    thawed["n"] = 2
    assert (view["n"], thawed["n"]) == (1, 2)


def test_copies_of_python_keep_a_frozen_one_frozen_and_a_deep_one_copies_the_objects_too():
    class Box:
        def __init__(self):
            self.n = 1

    message = mf.Message(box=Box(), boxes=[Box()], plain={"a": [1]}, frozen=True)
    deep, shallow, twin = copy.deepcopy(message), copy.copy(message), copy.copy(mf.Message(n=1))
    assert deep.frozen and shallow is message and not twin.frozen and twin == {"n": 1}
    deep["box"].n = deep["boxes.0"].n = 2
    assert (message["box"].n, message["boxes.0"].n) == (1, 1) and deep["plain"] is message["plain"]
    assert copy.deepcopy(message["boxes"])[0] is not message["boxes.0"]
    assert copy.copy(message["plain"]) is message["plain"] and copy.copy(message["boxes"]) is message["boxes"]


@pytest.mark.parametrize("frozen", [True, False])
def test_a_message_can_be_pickled_and_so_can_what_it_holds(frozen):
    message = mf.Message(user={"items": [{"n": (1, {2})}]}, frozen=frozen)
    again = pickle.loads(pickle.dumps(message))
    assert again == message and again.frozen is frozen and type(again) is mf.Message
    for path in ("user", "user.items"):
        part = pickle.loads(pickle.dumps(message[path]))
        assert part == message[path] and type(part) is type(message[path])


def test_to_dict_is_plain_throughout_and_free_to_change():
    message = mf.Message(user={"items": [{"n": 1}], "pair": ([1],)}, frozen=True)
    plain = message.to_dict()
    plain["user"]["items"][0]["n"] = 2
    plain["user"]["pair"][0].append(2)
    assert [type(plain["user"]), type(plain["user"]["items"])] == [dict, list]
    assert message == {"user": {"items": [{"n": 1}], "pair": ([1],)}}


def test_a_subclass_stays_one_in_its_copies():
    class Ticket(mf.Message):
        @property
        def title(self):
            return self["title"]

    ticket = Ticket(title="Broken").copy()
    assert ticket.view().title == "Broken" == pickle.loads(pickle.dumps(mf.Message(title="Broken")))["title"]
    assert type(Ticket.merge([ticket.copy(), ticket.copy()])) is Ticket


def test_a_text_parameter_can_be_a_value_and_a_part_of_a_path():
    module = nn.Module()
    module.prompt = nn.Parameter("user")
    message = mf.Message({module.prompt: {"text": module.prompt}})
    assert message == {"user": {"text": "user"}} == mf.Message.from_json(message.to_json())
