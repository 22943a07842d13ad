"""A function as a module."""

import functools
import threading

import anyio
import anyio.lowlevel
import pytest

import msgflow as mf
from msgflow import nn


def where(*args):
    return threading.current_thread().name


@mf.nonblocking
def where_in_place(*args):
    return threading.current_thread().name


class Callable:
    async def __call__(self, x):
        await anyio.lowlevel.checkpoint()
        return x + 1


async def waits(x, by=1):
    await anyio.lowlevel.checkpoint()
    return x + by


@pytest.mark.parametrize(
    "function", [waits, functools.partial(waits, by=1), Callable(), lambda x: waits(x), lambda x: x + 1]
)
async def test_whatever_can_be_called_is_called(door, function):
    assert await door(nn.Function(function), 1) == 2


async def test_a_plain_function_blocks_no_event_loop():
    assert (await nn.Function(where).acall()).startswith("msgflow worker")
    here = threading.current_thread().name
    assert nn.Function(where)() == here
    for marked in (where_in_place, functools.partial(where_in_place, 1), mf.nonblocking(functools.partial(where))):
        assert await nn.Function(marked).acall() == here


async def test_built_ins_and_methods_can_be_marked():
    class Holder:
        def where(self):
            return threading.current_thread().name

    assert await nn.Function(mf.nonblocking(str)).acall(1) == "1"
    assert await nn.Function(mf.nonblocking(Holder().where)).acall() == threading.current_thread().name


def test_it_is_named_like_its_function(tracing):
    nn.Function(functools.partial(where, 1))()
    assert repr(nn.Function(functools.partial(where, 1))) == "Function(where)" and repr(nn.Function(Callable())) == (
        "Function(Callable)"
    )
    assert [span.name for span in tracing.spans] == ["invoke_workflow where"]


@pytest.mark.parametrize("wrong", [3, None, "str", nn.Sequential(), nn.Sequential])
def test_what_is_no_function_is_refused(wrong):
    with pytest.raises(TypeError, match=r"a function is expected|give a module, such as"):
        nn.Function(wrong)


async def test_a_function_that_is_a_tool_describes_itself():
    def weather(city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"

    tool = nn.Tool(nn.Function(weather))
    assert (tool.name, str(tool.description)) == ("weather", "The weather of a city.")
