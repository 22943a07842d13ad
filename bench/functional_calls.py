"""The cost of nn.functional by itself: calls of modules and functions that do nothing."""

import asyncio
import time

import msgflow as mf
import msgflow.nn as nn
import msgflow.nn.functional as F
from bench.measure import each, side_by_side

FOUR = [(1,), (2,), (3,), (4,)]


class Empty(nn.Module):
    def forward(self, x: int) -> int:
        return x


class EmptyAsync(nn.Module):
    async def aforward(self, x: int) -> int:
        return x


class Gathers(nn.Module):
    """A composite: a gather inside a `def forward`."""

    def forward(self) -> object:
        return F.map_gather(empty, args_list=FOUR)


@mf.nonblocking
def nothing(x: int) -> int:
    return x


empty, gathers = Empty(), Gathers()


async def native() -> object:
    return await asyncio.gather(*(empty.acall(*row) for row in FOUR))


async def awaited() -> dict[str, float]:
    return await side_by_side(
        {
            "amap_gather": lambda: F.amap_gather(empty, args_list=FOUR),
            "map_gather in a forward": gathers.acall,
            "asyncio.gather of acall": native,
            "await_for": lambda: F.await_for(empty, 1, timeout=30),
        },
        concurrent=1,
        calls=2_000,
        rounds=7,
    )


def blocking_sleeps() -> float:
    start = time.perf_counter()
    F.map_gather(time.sleep, args_list=[(0.25,)] * 8)
    return time.perf_counter() - start


def main() -> list[str]:
    """Rows of a Markdown table."""
    calls = {
        "`map_gather` of 4 `def forward` in plain code": lambda: F.map_gather(empty, args_list=FOUR),
        "`map_gather` of 4 `async def aforward` in plain code": lambda: F.map_gather(EmptyAsync(), args_list=FOUR),
        "`map_gather` of 4 `@mf.nonblocking` functions in plain code": lambda: F.map_gather(nothing, args_list=FOUR),
        "`map_gather` of 4 plain functions in worker threads": lambda: F.map_gather(abs, args_list=FOUR),
        "`wait_for` of one `def forward` in plain code": lambda: F.wait_for(empty, 1, timeout=30),
        "`spawn` of a `def forward`, until it returns": lambda: F.spawn(empty, 1),
    }
    rows = [f"| {name} | {each(call, calls=500, rounds=7):.1f} us |" for name, call in calls.items()]
    rows += [f"| `{name}` on a running loop | {micros:.1f} us |" for name, micros in asyncio.run(awaited()).items()]
    rows.append(f"| `map_gather` of 8 plain functions that sleep 0.25 s | {blocking_sleeps():.2f} s |")
    return ["| what | measured |", "|---|---|", *rows]


if __name__ == "__main__":
    print("\n".join(main()))
