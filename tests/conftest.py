"""Both doors, as one fixture: a test that takes `door` runs once through each way into a module."""

import asyncio
import gc
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

import msgflow as mf
import msgflow.nn as nn
from tests import main_greenlets

main_greenlets.keep()
# The same examples each time, on a slow machine as well.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")
# A shell starts background jobs with Ctrl-C ignored, and what they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Thousands of collected tests live to the end: tests that collect garbage need not look at them each time."""
    gc.collect()
    gc.freeze()


class Caller(nn.Module):
    """Calls what it is given from a plain `def forward`."""

    def forward(self, call, *args, **kwargs):
        return call(*args, **kwargs)


async def through_call(call, *args, **kwargs):
    """In plain code: a thread without an event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def through_acall(call, *args, **kwargs):
    return await call.acall(*args, **kwargs)


async def through_forward_under_acall(call, *args, **kwargs):
    return await Caller().acall(call, *args, **kwargs)


@pytest.fixture(params=[through_call, through_acall, through_forward_under_acall], ids=["call", "acall", "nested"])
def door(request):
    """The three ways into a module: `module(x)`, `await module.acall(x)`, and `module(x)` in a forward under acall."""
    return request.param


@pytest.fixture
def tracing() -> Iterator[mf.trace.Tracing]:
    """Spans in memory, while the test runs."""
    with mf.trace.configure(exporter="memory") as tracing:
        yield tracing
