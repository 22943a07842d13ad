"""The state of a tree: flat, ordered, copied; loaded whole or not at all; hashed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow as mf
import msgflow.nn as nn
from msgflow.nn import state_dict as state_module
from tests.in_python import run_script


class Leaf(nn.Module):
    def __init__(self, text="hi"):
        super().__init__()
        self.register_buffer("limit", 3)
        self.prompt = nn.Parameter(text)
        self.register_buffer("seen", 0, persistent=False)


class Tree(nn.Module):
    def __init__(self):
        super().__init__()
        self.leaf = Leaf()
        self.title = nn.Parameter("title")
        self.examples = nn.Parameter([{"q": 1}])
        self.register_buffer("maybe", None)
        self.leaves = [Leaf("a"), Leaf("b")]


KEYS = ["title", "examples", "maybe", "leaf.prompt", "leaf.limit"]
KEYS += [f"leaves.{number}.{name}" for number in range(2) for name in ("prompt", "limit")]


def test_own_parameters_then_own_buffers_then_children_in_the_order_of_registration():
    assert list(Tree().state_dict()) == KEYS


def test_values_are_plain_and_copies():
    tree = Tree()
    state = tree.state_dict()
    assert type(state["title"]) is str and type(state["examples"]) is list and type(state["examples"][0]) is dict
    state["examples"][0]["q"] = 5
    assert tree.examples == [{"q": 1}]


@pytest.mark.parametrize("prefix", ["model", "model."])
def test_a_prefix_comes_before_every_key(prefix):
    assert list(Tree().state_dict(prefix)) == [f"model.{key}" for key in KEYS]
    assert list(Tree().state_dict(prefix="a.b.")) == [f"a.b.{key}" for key in KEYS]


def test_non_persistent_buffers_are_left_out():
    leaf = Leaf()
    assert "seen" not in leaf.state_dict()
    leaf.register_buffer("seen", 1)
    assert leaf.state_dict()["seen"] == 1


def test_shared_modules_and_parameters_are_saved_once_under_their_first_key():
    tree = Tree()
    tree.again = tree.leaf
    tree.leaves[1].prompt = tree.get_parameter("title")
    assert list(tree.state_dict()) == [key for key in KEYS if key != "leaves.1.prompt"]


def test_a_state_goes_back_into_a_fresh_tree():
    tree, fresh = Tree(), Tree()
    tree.title, tree.leaves[0].limit, tree.maybe = "changed", 7, {"a": 1}
    assert fresh.load_state_dict(tree.state_dict()) == nn.LoadReport([], [], [])
    assert fresh.state_dict() == tree.state_dict() and fresh.maybe == {"a": 1}


def test_loading_keeps_the_parameters_and_copies_the_values():
    tree = Tree()
    parameter, examples = tree.get_parameter("examples"), [{"q": 2}]
    tree.load_state_dict({**tree.state_dict(), "examples": examples})
    examples.append({"q": 3})
    assert tree.get_parameter("examples") is parameter and tree.examples == [{"q": 2}]


def test_a_text_read_from_another_module_loads_as_plain_text():
    leaf = Leaf()
    leaf.load_state_dict({"prompt": Leaf("other").prompt, "limit": 3})
    assert leaf.prompt == "other" and leaf.prompt.parameter is leaf.get_parameter("prompt")


def test_a_state_that_does_not_fit_lists_every_problem_and_changes_nothing():
    tree = Tree()
    before = tree.state_dict()
    state = {**before, "title": 5, "leaf.limit": "many", "examples": "one", "extra": 1, 7: "number"}
    del state["maybe"]
    with pytest.raises(mf.errors.StateDictError) as caught:
        tree.load_state_dict(state)
    assert str(caught.value) == (
        "the state does not fit Tree; nothing was changed:\n"
        "  maybe: missing\n"
        "  extra: unexpected, Tree has no such key\n"
        "  7: unexpected, Tree has no such key\n"
        "  title: expected text, got a number (5)\n"
        "  examples: expected a list, got text ('one')\n"
        "  leaf.limit: expected a number, got text ('many')\n"
        "Give a value for every key, or load what fits with strict=False."
    )
    assert (caught.value.missing, caught.value.unexpected) == (["maybe"], ["extra", "7"])
    assert tree.state_dict() == before


def test_a_loose_load_takes_what_fits_and_reports_the_rest():
    tree = Tree()
    report = tree.load_state_dict({"title": "new", "leaf.limit": [], "nope": 1}, strict=False)
    assert tree.title == "new" and tree.leaf.limit == 3
    assert report.missing == [key for key in KEYS if key not in ("title", "leaf.limit")]
    assert report.unexpected == ["nope"] and report.mismatched == ["leaf.limit: expected a number, got a list ([])"]


@pytest.mark.parametrize("state", [None, [("title", "x")], "title"])
def test_a_state_is_a_mapping(state):
    with pytest.raises(TypeError, match="a mapping of dotted keys to values, not"):
        Tree().load_state_dict(state)


@pytest.mark.parametrize(
    ("value", "fits"),
    [(4, True), (4.5, True), (None, True), (True, False), ("4", False), ([4], False), ({}, False), ((4,), False)],
)
def test_a_buffer_takes_values_of_its_own_kind_and_none(value, fits):
    leaf = Leaf()
    report = leaf.load_state_dict({"limit": value}, strict=False)
    assert (not report.mismatched) is fits and leaf.limit == (value if fits else 3)


@pytest.mark.parametrize(
    ("value", "came"), [(None, "got nothing"), (5, "got a number"), (["x"], "got a list"), (b"x", "of type bytes")]
)
def test_a_text_parameter_takes_text_only(value, came):
    leaf = Leaf()
    (problem,) = leaf.load_state_dict({"prompt": value}, strict=False).mismatched
    assert problem.startswith("prompt") and came in problem and leaf.prompt == "hi"


def test_a_none_buffer_takes_any_value():
    for value in ("text", 1, False, [1], {"a": 1}, None):
        tree = Tree()
        tree.load_state_dict({"maybe": value}, strict=False)
        assert tree.maybe == value


def test_a_parameter_without_a_value_does_not_become_text_by_loading():
    module = nn.Module()
    module.empty = nn.Parameter(None)
    assert module.load_state_dict({"empty": "x"}, strict=False).mismatched == ["empty: expected nothing, got text"]
    assert not module.load_state_dict({"empty": [1]}).mismatched and module.empty == [1]


def test_a_value_nested_in_itself_is_reported_and_nothing_is_loaded():
    endless = []
    endless.append(endless)
    tree = Tree()
    with pytest.raises(mf.errors.StateDictError, match=r"examples: .*contains itself"):
        tree.load_state_dict({**tree.state_dict(), "title": "new", "examples": endless})
    assert tree.title == "title"


def test_a_module_may_refuse_a_buffers_value():
    class Even(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", 2)

        def _buffer_value(self, name, value):
            if value % 2:
                raise ValueError(f"{value} is odd")
            return super()._buffer_value(name, value)

    module = Even()
    assert module.load_state_dict({"count": 3}, strict=False).mismatched == ["count: 3 is odd"]
    assert module.load_state_dict({"count": 4}).mismatched == [] and module.count == 4


def test_the_digest_is_equal_in_another_process():
    script = """
        import msgflow.nn as nn
        module = nn.Module()
        module.register_buffer("b", {"y": [1.5, None, True], "x": "é \\ud800"})
        module.a = nn.Parameter("text")
        print(module.digest())
    """
    module = nn.Module()
    module.a = nn.Parameter("text")
    module.register_buffer("b", {"x": "é \ud800", "y": [1.5, None, True]})
    assert module.digest() == run_script(script) and len(module.digest()) == 16


def test_the_digest_changes_with_every_change_and_comes_back_with_the_state():
    tree = Tree()
    start = tree.state_dict()
    seen = [tree.digest()]
    for change in (
        lambda: setattr(tree, "title", "new"),
        lambda: setattr(tree.leaf.prompt, "data", "new"),
        lambda: setattr(tree.leaves[0], "limit", 4),
        lambda: setattr(tree, "examples", []),
        lambda: setattr(tree, "more", Leaf()),
        lambda: tree.leaves.append(Leaf()),
        lambda: delattr(tree, "maybe"),
        lambda: tree.register_buffer("other", None),
        lambda: tree.leaf.register_buffer("seen", 1, persistent=True),
    ):
        change()
        seen.append(tree.digest())
    del tree.more, tree.leaves[2], tree.other
    tree.register_buffer("maybe", None)
    tree.leaf.register_buffer("seen", 1, persistent=False)
    tree.load_state_dict(start)
    assert len(set(seen)) == len(seen) and tree.digest() == seen[0]


def test_the_digest_is_not_made_again_while_nothing_changed(monkeypatch):
    tree = Tree()
    tree.digest()
    monkeypatch.setattr(state_module, "collect", lambda module: pytest.fail("hashed again"))
    assert tree.digest() == tree.digest()


def test_a_buffer_that_is_not_saved_is_not_in_the_digest():
    leaf = Leaf()
    before = leaf.digest()
    leaf.seen = 5
    assert leaf.digest() == before


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.from_regex(r"v_[a-z]{1,3}", fullmatch=True), values, max_size=5))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_json_state_round_trips_with_its_digest(state):
    def build(given):
        module = nn.Module()
        for name, value in given.items():
            module.register_buffer(name, value)
        return module

    module, empty = build(state), build(dict.fromkeys(state))
    empty.load_state_dict(module.state_dict())
    assert empty.state_dict() == module.state_dict() == state and empty.digest() == module.digest()
