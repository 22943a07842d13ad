"""Every function of nn.functional from every place where it can be called."""

import asyncio
import time

import msgflow.nn as nn
import msgflow.nn.functional as F


class Plain(nn.Module):
    def forward(self, name, args, kwargs):
        return getattr(F, name)(*args, **kwargs)


class Async(nn.Module):
    async def aforward(self, name, args, kwargs):
        return await getattr(F, "a" + name)(*args, **kwargs)


class AsyncThatBlocks(nn.Module):
    """Calls the blocking name from async code, where it must not wait for itself."""

    async def aforward(self, name, args, kwargs):
        return getattr(F, name)(*args, **kwargs)


WAYS = {"def": Plain, "async def": Async, "blocking in async def": AsyncThatBlocks}


async def until(condition, limit_s=10.0):
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it never came true"
        await asyncio.sleep(0.001)
