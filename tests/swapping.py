"""Modules whose calls say what they have read, and a thread that swaps what they read."""

import asyncio
import gc
import threading
import time

import msgflow as mf
import msgflow.nn as nn
from msgflow import _version_clock
from msgflow._bridge import gather

WIDTH = 10  # parameters of each module


class Level(nn.Module):
    """Ten parameters, read before and after its children have run."""

    def __init__(self, *below):
        super().__init__()
        for number in range(WIDTH):
            self.register_parameter(f"p{number}", nn.Parameter("0"))
        self.below = nn.ModuleList(below)

    def read(self):
        return {str(parameter.data) for parameter in self._parameters.values()}

    def forward(self, kind):
        return self.read().union(*(module(kind) for module in self.below), self.read())


class Leaf(Level):
    """Lets others run between two looks: on the loop, in a worker thread, in branches, or in a stream."""

    def __init__(self):
        super().__init__()
        self.tool = nn.Tool(self.look, description="look")

    def look(self) -> list[str]:
        return sorted(self.read())

    async def aforward(self, kind):
        seen = self.read()
        await asyncio.sleep(0)
        if kind == "thread":
            seen |= set(await self.tool.acall())
        elif kind == "branches":
            for found in await gather([self.branch, self.branch]):
                seen |= found
        elif kind == "stream":
            async for found in mf.Stream(self.looks):
                seen |= found
        return seen | self.read()

    async def branch(self):
        await asyncio.sleep(0)
        return self.read()

    async def looks(self, emit):
        await emit(self.read())
        await asyncio.sleep(0)
        await emit(self.read())


KINDS = ("plain", "plain", "plain", "plain", "thread", "branches", "stream")


def tree():
    return Level(Level(Leaf()), Level(Leaf()))  # 50 parameters in three levels


class Swapping:
    """Publishes whole states as fast as it can, from a thread of its own, while the block runs."""

    def __init__(self, module):
        self.module, self.keys, self.swaps = module, list(module.state_dict()), 0
        self.keys = [key for key in self.keys if key.rpartition(".")[2].startswith("p")]
        self.rest = {key: value for key, value in module.state_dict().items() if key not in self.keys}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            self.swaps += 1
            self.module.load_state_dict({**self.rest, **dict.fromkeys(self.keys, str(self.swaps))})
            time.sleep(0)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def snapshots():
    """Those that are kept beside the current one, which there always is."""
    gc.collect()
    found = [found for found in gc.get_objects() if type(found) is _version_clock.Snapshot]
    return [snapshot for snapshot in found if snapshot is not _version_clock._clock.current]


class Pair(nn.Module):
    """Two prompts, and what was read of them before and after something happened in between."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter("a1"), nn.Parameter("b1")
        self.register_buffer("n", 1)

    def forward(self, between=lambda: None):
        before = self.a
        between()
        return str(before), str(self.a), str(self.b), self.n


NEW = {"a": "a2", "b": "b2", "n": 2}
