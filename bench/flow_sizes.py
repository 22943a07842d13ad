"""Large flows: many items, many steps, deep nesting.

python -m bench.flow_sizes map        one Map over 10,000 items, in a process of its own
"""

import asyncio
import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgflow as mf
from bench.lazyllm_side import lazyllm_side, missing
from msgflow import flow, nn

ITEMS, AT_ONCE, SLEEP_S = 10_000, 1_000, 0.01
IDEAL_S = ITEMS / AT_ONCE * SLEEP_S


class Sleeping(nn.Module):
    async def aforward(self, item: int) -> int:
        await asyncio.sleep(SLEEP_S)
        return item


@mf.nonblocking
def plus_one(x: int) -> int:
    return x + 1


# --- many items ------------------------------------------------------------------------------------------------------


async def natively(items: range) -> list[int]:
    """The same with asyncio alone."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(item: int) -> int:
        async with free:
            await asyncio.sleep(SLEEP_S)
        return item

    return await asyncio.gather(*map(one, items))


WAYS: dict[str, Callable[[range], list[int]]] = {
    "map": flow.Map(Sleeping(), limit=AT_ONCE),
    "acall": lambda items: asyncio.run(flow.Map(Sleeping(), limit=AT_ONCE).acall(items)),
    "asyncio": lambda items: asyncio.run(natively(items)),
}


def alone(way: str) -> tuple[float, float]:
    """Seconds, and how many MB more the process then has had at its peak."""
    run = WAYS[way]
    run(range(10))
    before = _memory("VmRSS")
    start = time.perf_counter()
    assert run(range(ITEMS)) == list(range(ITEMS))
    return time.perf_counter() - start, _memory("VmHWM") - before


def _memory(name: str) -> float:
    """MB of this process, on Linux. `ru_maxrss` would include the peak of the process that started it."""
    status = Path("/proc/self/status")
    found = re.search(rf"^{name}:\s*(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(found[1]) / 1024 if found else math.nan


def in_turns() -> dict[str, tuple[float, float]]:
    """Of each way, medians over processes of their own."""
    runs: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(5):
        for way, taken in runs.items():
            command = [sys.executable, "-m", "bench.flow_sizes", way]
            done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parent.parent)
            taken.append(json.loads(done.stdout))
    return {
        way: (statistics.median(seconds for seconds, _ in taken), statistics.median(memory for _, memory in taken))
        for way, taken in runs.items()
    }


def many_items() -> list[str]:
    taken = in_turns()
    native_s, native_mb = taken["asyncio"]
    at_most = f"{1.3 * IDEAL_S + 0.25:.2f} s, 100 MB"
    rows = [
        f"| {ITEMS:,} items that sleep 10 ms, {AT_ONCE:,} at a time, by asyncio alone | "
        f"{native_s:.2f} s, {native_mb:.0f} MB | |"
    ]
    for way, door in (("map", "`m(items)`"), ("acall", "`await m.acall(items)`")):
        seconds, memory = taken[way]
        measured = f"{seconds / native_s:.1f} x asyncio, {seconds:.2f} s, {memory:.0f} MB"
        rows.append(f"| the same by `Map`, {door} | {measured} | {at_most} |")
    return rows


# --- many steps ------------------------------------------------------------------------------------------------------


def nested(around: Callable[[nn.Module], nn.Module], depth: int = 200) -> nn.Module:
    made: nn.Module = flow.Pipeline(plus_one)
    for _ in range(depth - 1):
        made = around(made)
    return made


def many_steps() -> list[str]:
    shapes = {
        "`Pipeline` of 1,000 functions": (flow.Pipeline(*[plus_one] * 1000), 1000),
        "`Pipeline` 200 deep": (nested(flow.Pipeline), 1),
        "`Parallel` 200 deep": (nested(lambda inner: flow.Parallel(inner, reduce=max)), 1),
    }
    rows = []
    with asyncio.Runner() as runner:
        for what, (made, result) in shapes.items():
            called = milliseconds(partial(made, 0), result)
            awaited = milliseconds(lambda made=made: runner.run(made.acall(0)), result)  # type: ignore[misc]
            rows.append(f"| {what}, `p(x)` and `await p.acall(x)` | {called:.1f} ms, {awaited:.1f} ms | |")
    return rows


def milliseconds(call: Callable[[], object], result: int) -> float:
    """The median of several calls."""

    def once() -> float:
        start = time.perf_counter()
        assert call() == result
        return (time.perf_counter() - start) * 1e3

    return statistics.median(once() for _ in range(9))


# --- LazyLLM ---------------------------------------------------------------------------------------------------------


def by_lazyllm() -> list[str]:
    """The same with LazyLLM, a few calls each, or why not."""
    reason = missing()
    if reason:
        return [f"| {reason} | | |"]
    rows = []
    for what, name, calls in (
        (f"LazyLLM: `warp` over {ITEMS:,} items in {AT_ONCE:,} threads", "10,000 items", 1),
        ("LazyLLM: `pipeline` of 1,000 functions", "1,000 steps", 4),
        ("LazyLLM: `pipeline` 200 deep", "200 deep", 4),
    ):
        with lazyllm_side(tracing=True) as side:
            try:
                taken = f"{side.round(name, calls) / 1e3:.0f} ms"
            except RuntimeError as error:
                taken = str(error)
        rows.append(f"| {what} | {taken} | |")
    return rows


def main() -> list[str]:
    """Rows of a Markdown table."""
    return [
        "| what | measured | at most |",
        "|---|---|---|",
        *many_items(),
        *many_steps(),
        *by_lazyllm(),
    ]


if __name__ == "__main__":
    print(json.dumps(alone(sys.argv[1])) if sys.argv[1:] else "\n".join(main()))
