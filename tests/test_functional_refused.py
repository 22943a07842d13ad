"""What nn.functional refuses, and what it says then."""

import math

import pytest

import msgflow.nn as nn
import msgflow.nn.functional as F
from tests.functional_doors import until


class Echo(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ab", "args_list is a list that has a tuple of arguments, such as .* not 'ab' of type str"),
        (((number,) for number in range(2)), "not <generator object .* of type generator"),
        ({(1,): 2}, "of type dict"),
        (3, "not 3 of type int"),
        ([1, 2], r"args_list\[0\] is 1 of type int; give a tuple of arguments, such as \(x,\)"),
        ([(1,), "ab"], r"args_list\[1\] is 'ab' of type str"),
        ([{"x": 1}], r"args_list\[0\] is {'x': 1} of type dict"),
        ([None], r"args_list\[0\] is None of type NoneType"),
    ],
)
def test_args_list_is_a_list_of_tuples(wrong, message):
    with pytest.raises(TypeError, match=message):
        F.map_gather(Echo(), args_list=wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": 1}, "kwargs_list is a list that has a dict of keyword arguments for each call, not {'x': 1}"),
        ([("x", 1)], r"kwargs_list\[0\] is \('x', 1\) of type tuple; give a dict of keyword arguments"),
    ],
)
def test_kwargs_list_is_a_list_of_dicts(wrong, message):
    with pytest.raises(TypeError, match=message):
        F.map_gather(Echo(), kwargs_list=wrong)


def test_map_gather_needs_something_to_call_with():
    with pytest.raises(TypeError, match=r"there is nothing to call with: give args_list="):
        F.map_gather(Echo())


@pytest.mark.parametrize("wrong", [3, None, "print", [print], Echo()()])
def test_what_is_called_is_callable(wrong):
    with pytest.raises(TypeError, match="give a Module or a function, not yet called"):
        F.map_gather(wrong, args_list=[()])
    with pytest.raises(TypeError, match=r"functions\[1\] is .*; give a Module or a function"):
        F.bcast_gather([print, wrong])
    with pytest.raises(TypeError, match="give a Module or a function"):
        F.wait_for(wrong)


def test_a_class_of_modules_is_not_a_module():
    with pytest.raises(TypeError, match=r"functions\[0\] is the class Echo; give a module, such as Echo\(\)"):
        F.scatter_gather([Echo])


@pytest.mark.parametrize("wrong", [print, "ab", iter([print]), {print}, None])
def test_functions_are_a_list(wrong):
    with pytest.raises(TypeError, match="the functions are a list or tuple of Modules and functions, not"):
        F.scatter_gather(wrong)
    with pytest.raises(TypeError, match="the functions are a list or tuple"):
        F.bcast_gather(wrong)


def test_lists_must_match_in_length_and_nothing_is_called_before_that():
    called = []
    with pytest.raises(ValueError, match="kwargs_list has 1 entries for 2 calls; give one for each call"):
        F.map_gather(called.append, args_list=[(1,), (2,)], kwargs_list=[{}])
    with pytest.raises(ValueError, match="args_list has 3 entries for 2 calls"):
        F.scatter_gather([called.append] * 2, [(1,), (2,), (3,)])
    with pytest.raises(ValueError, match="args_list has 0 entries for 1 calls"):
        F.scatter_gather([called.append], [])
    assert called == []


CALLS_WITH_A_TIMEOUT = {
    "map_gather": lambda timeout: F.map_gather(Echo(), args_list=[()], timeout=timeout),
    "scatter_gather": lambda timeout: F.scatter_gather([Echo()], timeout=timeout),
    "bcast_gather": lambda timeout: F.bcast_gather([Echo()], timeout=timeout),
    "wait_for": lambda timeout: F.wait_for(Echo(), timeout=timeout),
}


@pytest.mark.parametrize("name", CALLS_WITH_A_TIMEOUT)
@pytest.mark.parametrize("wrong", [0, -1, 0.0, -0.5, math.nan, -math.inf])
def test_a_timeout_is_above_zero(name, wrong):
    with pytest.raises(ValueError, match="give a number of seconds above 0, or None for no limit"):
        CALLS_WITH_A_TIMEOUT[name](wrong)


@pytest.mark.parametrize("name", CALLS_WITH_A_TIMEOUT)
@pytest.mark.parametrize("wrong", ["1", True, [1], 1j])
def test_a_timeout_is_a_number(name, wrong):
    with pytest.raises(TypeError, match="timeout is a number of seconds, or None for no limit, not"):
        CALLS_WITH_A_TIMEOUT[name](wrong)


@pytest.mark.parametrize("wrong", [0, -3])
def test_a_limit_is_at_least_one(wrong):
    with pytest.raises(ValueError, match="it has to be at least 1, or None for all at once"):
        F.map_gather(Echo(), args_list=[()], limit=wrong)


@pytest.mark.parametrize("wrong", [True, 1.5, "2"])
def test_a_limit_is_a_number_of_calls(wrong):
    with pytest.raises(TypeError, match="limit is a whole number, or None for all at once, not"):
        F.map_gather(Echo(), args_list=[()], limit=wrong)


def test_huge_values_are_cut_in_messages():
    with pytest.raises(TypeError) as caught:
        F.map_gather(Echo(), args_list="x" * 1_000_000)
    assert len(str(caught.value)) < 300


async def test_hostile_names_of_functions_are_only_text(caplog):
    async def hostile():
        raise ValueError("%s %(name)s {0}")

    hostile.__qualname__ = "%s%n {x}"
    spawned = F.spawn(hostile)
    await until(spawned.done)
    assert caplog.records[0].getMessage() == "the spawned call of %s%n {x} failed"
