"""Containers against an oracle: a plain list or dict that gets the same operations."""

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn


class Add(nn.Module):
    def __init__(self, number=1):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x + self.number

    def extra_repr(self):
        return str(self.number)


POOL = [Add(number) for number in range(6)]
modules = st.sampled_from(POOL)
indexes = st.integers(-5, 5)
slices = st.builds(slice, st.none() | indexes, st.none() | indexes, st.none() | st.sampled_from([1, 2, -1]))

list_operations = st.one_of(
    st.tuples(st.just("append"), modules),
    st.tuples(st.sampled_from(["extend", "__iadd__"]), st.lists(modules, max_size=3)),
    st.tuples(st.just("insert"), indexes, modules),
    st.tuples(st.just("pop")),
    st.tuples(st.sampled_from(["pop", "__delitem__", "__getitem__"]), indexes),
    st.tuples(st.just("__setitem__"), indexes, modules),
    st.tuples(st.just("__delitem__"), slices),
)

dict_operations = st.one_of(
    st.tuples(st.just("__setitem__"), st.sampled_from("abc"), modules),
    st.tuples(st.sampled_from(["__getitem__", "__delitem__", "pop", "get", "__contains__"]), st.sampled_from("abcd")),
    st.tuples(st.just("get"), st.sampled_from("abcd"), modules),
    st.tuples(st.just("update"), st.dictionaries(st.sampled_from("abcd"), modules)),
    st.tuples(st.just("clear")),
)


def outcome(target, name, *arguments):
    """What a call returns, or the type of what it raises."""
    try:
        result = getattr(target, name)(*arguments)
    except (IndexError, KeyError) as error:
        return type(error)
    return "itself" if result is target else result


@pytest.mark.parametrize("kind", [nn.ModuleList, lambda given=(): nn.Sequential(*given)], ids=["list", "sequential"])
@given(operations=st.lists(list_operations, max_size=12), part=slices)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_list_of_modules_behaves_as_a_list(kind, operations, part):
    ours, plain = kind(), []
    for name, *arguments in operations:
        mine, theirs = outcome(ours, name, *arguments), outcome(plain, name, *arguments)
        # append and extend return the container, so that they can be chained.
        assert mine is theirs or (mine == "itself" and theirs in (None, "itself"))
        assert list(ours) == plain and len(ours) == len(plain) and bool(ours) == bool(plain)
    assert list(ours[part]) == plain[part] and type(ours[part]) is type(ours)
    assert list(ours._modules) == [str(number) for number in range(len(plain))]
    assert all((module in ours) == (module in plain) for module in POOL)
    assert list(reversed(list(ours))) == plain[::-1]


@given(st.lists(dict_operations, max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_dict_of_modules_behaves_as_a_dict(operations):
    ours, plain = nn.ModuleDict(), {}
    for name, *arguments in operations:
        assert outcome(ours, name, *arguments) is outcome(plain, name, *arguments)
        assert list(ours) == list(ours.keys()) == list(plain) and list(ours.values()) == list(plain.values())
        assert list(ours.items()) == list(plain.items()) and len(ours) == len(plain)
    assert nn.ModuleDict(ours).items() == nn.ModuleDict(ours.items()).items() == plain.items()


def test_a_dict_of_modules_can_be_cleared():
    steps = nn.ModuleDict({"a": Add(), "b": Add()})
    steps.clear()
    assert not steps and steps.state_dict() == {}


# --- Sequential ----------------------------------------------------------------------------------------------------


async def test_each_module_gets_the_output_of_the_one_before(door):
    assert await door(nn.Sequential(Add(1), Add(2), Add(3)), 0) == 6


async def test_an_empty_sequential_returns_its_input(door):
    assert await door(nn.Sequential(), "as it is") == "as it is"


async def test_an_empty_sequential_has_no_answer_for_several_inputs(door):
    with pytest.raises(TypeError, match="returns its one input; it got 1 and 1 by keyword"):
        await door(nn.Sequential(), 1, x=2)


async def test_the_first_module_gets_all_arguments(door):
    class Sum(nn.Module):
        def forward(self, a, b, *, c):
            return a + b + c

    assert await door(nn.Sequential(Sum(), Add(1)), 1, 2, c=3) == 7


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_a_sequential_of_named_modules_keeps_their_names(kind):
    first = Add(1)
    named = nn.Sequential(kind(first=first, second=Add(2), third=first))
    assert list(named._modules) == ["first", "second", "third"] and named.second(0) == 2 and named[2] is first
    assert list(named[:2]._modules) == ["first", "second"] and list(named[::2]._modules) == ["first", "third"]
    assert list(named[5:]._modules) == []


def test_named_and_numbered_modules_go_together():
    named, more = nn.Sequential({"a": Add(1)}), nn.Sequential(Add(2), Add(3))
    assert [each.number for each in named + more] == [1, 2, 3] and (named + more)(0) == 6
    assert len(named) == 1 and len(more) == 2


def test_appending_never_replaces_a_module_whose_name_is_a_number():
    sequential = nn.Sequential({"1": Add(1)}).append(Add(2)).append(Add(3))
    assert [each.number for each in sequential] == [1, 2, 3]


def test_a_part_shares_its_modules_with_the_whole():
    whole = nn.Sequential(Add(1), Add(2))
    part = whole[1:]
    assert part[0] is whole[1] and part is not whole
    part.append(Add(3))
    assert len(whole) == 2


def test_a_list_of_modules_may_extend_itself():
    steps = nn.ModuleList([Add(1), Add(2)])
    steps += steps
    assert [each.number for each in steps] == [1, 2, 1, 2] and (steps + nn.ModuleList([Add(3)]))[-1].number == 3


def test_modules_may_be_taken_out_while_iterating():
    steps = nn.ModuleList([Add(1), Add(2), Add(3)])
    for _ in steps:
        del steps[0]
    assert len(steps) == 0


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: nn.Sequential(Add(), print),
        lambda: nn.ModuleList([Add(), "step"]),
        lambda: nn.ModuleList([Add()]).insert(0, None),
        lambda: nn.ModuleList().__add__([3]),
        lambda: nn.ModuleDict({"a": print}),
    ],
)
def test_containers_hold_modules_only(wrong):
    with pytest.raises(TypeError, match=r"containers hold Modules, not .*a plain function needs a Module around it"):
        wrong()


def test_setting_something_else_is_refused():
    with pytest.raises(TypeError, match="'0' is of type str, not a Module"):
        nn.ModuleList([Add()])[0] = "step"
    with pytest.raises(TypeError, match="'a' is of type str, not a Module"):
        nn.ModuleDict()["a"] = "step"


def test_extending_by_one_module_says_to_append():
    with pytest.raises(TypeError, match="takes several modules, not one Add; use append"):
        nn.ModuleList().extend(Add())
    assert len(nn.ModuleList(nn.Sequential(Add(), Add()))) == 2


@pytest.mark.parametrize("index", ["0", 1.0, None])
def test_an_index_is_an_integer(index):
    with pytest.raises(TypeError):
        nn.ModuleList([Add()])[index]


def test_an_index_out_of_range_says_how_many_there_are():
    with pytest.raises(IndexError, match="index 2 is out of range for 2 modules"):
        nn.Sequential(Add(), Add())[2]
    with pytest.raises(IndexError, match="index -1 is out of range for 0 modules"):
        nn.ModuleList().pop()


def test_a_failed_extend_adds_nothing():
    steps = nn.ModuleList()
    with pytest.raises(TypeError):
        steps.extend([Add(), "step"])
    assert len(steps) == 0


@pytest.mark.parametrize("key", ["", "a.b", "training", "_modules", 3])
def test_a_failed_update_of_a_dict_changes_nothing(key):
    steps = nn.ModuleDict({"a": POOL[0]})
    with pytest.raises((KeyError, TypeError)):
        steps.update({"a": Add(), "b": Add(), key: Add()})
    assert list(steps.items()) == [("a", POOL[0])]


@pytest.mark.parametrize("key", ["keys", "train", "forward", "items", "state_dict", "0", "_private", "named like this"])
def test_keys_of_a_dict_may_be_the_names_of_its_methods(key):
    steps = nn.ModuleDict({key: nn.Sequential(Add(1))})
    steps.train()
    assert steps[key][0](0) == 1 and list(steps.keys()) == [key]
    assert [name for name, _ in steps.named_modules()] == ["", key, f"{key}.0"]
    del steps[key]
    assert key not in steps and not steps


@pytest.mark.parametrize("container", [nn.ModuleList([Add()]), nn.ModuleDict({"a": Add()})])
async def test_lists_and_dicts_of_modules_are_not_called(door, container):
    with pytest.raises(NotImplementedError, match="neither `def forward`"):
        await door(container, 1)
