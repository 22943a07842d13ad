"""Containers against an oracle: a plain list or dict that gets the same operations."""

import threading
import time
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
    st.tuples(st.sampled_from(["__delitem__", "__getitem__"]), slices),
    st.tuples(st.just("__setitem__"), slices, st.lists(modules, max_size=3)),
    st.tuples(st.sampled_from(["__mul__", "__rmul__", "__imul__"]), st.integers(1, 2)),
    st.tuples(st.just("__add__"), st.lists(modules, max_size=2)),
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
    except (IndexError, KeyError, ValueError) as error:
        return type(error)
    if result is target:
        return "itself"
    return list(result) if isinstance(result, nn.ModuleList | nn.Sequential) else result


@pytest.mark.parametrize("kind", [nn.ModuleList, lambda given=(): nn.Sequential(*given)], ids=["list", "sequential"])
@given(operations=st.lists(list_operations, max_size=12), part=slices)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_list_of_modules_behaves_as_a_list(kind, operations, part):
    ours, plain = kind(), []
    for name, *arguments in operations:
        mine, theirs = outcome(ours, name, *arguments), outcome(plain, name, *arguments)
        # append, extend and insert return the container, so that they can be chained.
        assert mine == theirs or (mine == "itself" and theirs in (None, "itself"))
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


def test_named_modules_keep_their_names_when_others_come_and_go():
    named = nn.Sequential({"a": Add(1), "b": Add(2), "c": Add(3)})
    del named[0]
    named.insert(1, Add(4)).insert(0, Add(5))
    assert list(named._modules) == ["0", "b", "2", "c"] and [each.number for each in named] == [5, 2, 4, 3]
    named[1:3] = [Add(6)]
    assert list(named._modules) == ["0", "1", "c"] and named.pop(slice(2))(0) == 11 and list(named._modules) == ["c"]


def test_repeated_modules_are_shared():
    once = nn.Sequential({"a": Add(1), "b": Add(2)})
    thrice = 3 * once
    once *= 2
    assert thrice(0) == 9 and once(0) == 6 and len(list(thrice.modules())) == 3
    assert list(thrice._modules) == list("012345") and list(once._modules) == ["a", "b", "2", "3"]


@pytest.mark.parametrize("times", [0, -1])
def test_modules_are_repeated_at_least_once(times):
    steps = nn.Sequential(Add())
    for wrong in (steps.__mul__, steps.__rmul__, steps.__imul__):
        with pytest.raises(ValueError, match=f"cannot be repeated {times} times; give a number of at least 1"):
            wrong(times)
    with pytest.raises(TypeError):
        steps * 1.5
    assert len(steps) == 1


def test_a_copy_of_a_dict_shares_its_modules_and_goes_its_own_way():
    steps = nn.ModuleDict({"a": POOL[0]})
    copied = steps.copy()
    copied["b"] = POOL[1]
    assert type(copied) is nn.ModuleDict and copied["a"] is steps["a"] and list(steps) == ["a"]


def test_a_call_in_another_thread_never_sees_a_chain_that_is_half_rebuilt():
    steps, results, stop = nn.Sequential(*[Add(1)] * 50), set(), threading.Event()

    def calls():
        while not stop.is_set():
            results.add(steps(0))

    thread = threading.Thread(target=calls)
    thread.start()
    while not results:
        time.sleep(0.001)
    for _ in range(200):
        del steps[0]
        steps.insert(0, Add(1))
    stop.set()
    thread.join()
    assert results <= {49, 50}


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


def test_one_module_where_several_are_expected_is_refused():
    for wrong in (
        nn.ModuleList().extend,
        nn.ModuleList().__iadd__,
        lambda one: nn.Sequential().__setitem__(slice(1), one),
    ):
        with pytest.raises(TypeError, match="several modules are expected, not one Add; put it in a list"):
            wrong(Add())
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
