"""Loading states whose keys had other names."""

import pytest

import msgflow.nn as nn
from msgflow.errors import StateDictError, StateError


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter("now")
        self.register_buffer("n", 0)


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Step(), Step()


def old(prefix="", first="first", second="second"):
    return {
        f"{prefix}{first}.prompt": "one",
        f"{prefix}{first}.n": 1,
        f"{prefix}{second}.prompt": "two",
        f"{prefix}{second}.n": 2,
    }


@pytest.mark.parametrize(
    ("state", "rename"),
    [
        (old(), {}),
        (old(first="draft"), {"draft.": "first."}),
        (old("agent."), {"agent.": ""}),
        (old(first="second", second="first"), {"second.": "first.", "first.": "second."}),
        (
            {"a.prompt": "one", "b": 1, "second.prompt": "two", "a.n": 2},
            {"a.": "first.", "b": "first.n", "a.n": "second.n"},
        ),
        (old("a.", second="b"), {"a.": "", "a.b.": "second."}),
        (old(), {"gone.": "first."}),
    ],
    ids=["nothing", "prefix", "stripped", "swapped", "key", "longest", "unused"],
)
def test_a_state_with_other_names_loads(state, rename):
    before = dict(state)
    flow = Flow()
    report = flow.load_state_dict(state, rename=rename)
    assert flow.state_dict() == old() and state == before
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])


def test_an_empty_prefix_adds_one():
    outer = nn.Module()
    outer.flow = Flow()
    outer.load_state_dict(old(), rename={"": "flow."})
    assert outer.flow.state_dict() == old()


def test_a_name_without_a_dot_renames_that_key_alone():
    step = Step()
    report = step.load_state_dict({"n": 5, "prompt_2": "new"}, strict=False, rename={"prompt": "n"})
    assert report.unexpected == ["prompt_2"] and step.n == 5


def test_problems_are_reported_by_the_new_names():
    with pytest.raises(StateDictError) as caught:
        Flow().load_state_dict({"draft.prompt": 5}, rename={"draft.": "first."})
    assert "first.prompt: expected text" in str(caught.value) and "draft" not in str(caught.value)


def test_two_keys_that_become_one_are_refused():
    flow = Flow()
    with pytest.raises(StateError, match=r"'first.prompt' of both 'draft.prompt' and 'first.prompt'"):
        flow.load_state_dict({**old(first="draft"), **old()}, rename={"draft.": "first."})
    assert flow.first.prompt == "now"


@pytest.mark.parametrize("rename", [{"draft.": "first"}, {"draft": "first."}])
def test_a_prefix_is_renamed_to_a_prefix_and_a_key_to_a_key(rename):
    with pytest.raises(StateError, match="mixes a key with a prefix"):
        Flow().load_state_dict(old(), rename=rename)


@pytest.mark.parametrize("rename", [["draft."], {"draft.": 5}, {5: "x"}, "draft."])
def test_rename_is_a_mapping_of_text_to_text(rename):
    with pytest.raises(TypeError, match="rename"):
        Flow().load_state_dict(old(), rename=rename)
