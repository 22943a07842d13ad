"""The cost of a module's call by itself, and 10,000 concurrent flows against native coroutines."""

import asyncio
import statistics
import time

from bench.measure import each, side_by_side
from msgflow import nn


class Empty(nn.Module):
    def forward(self, x: int) -> int:
        return x


class Leaf(nn.Module):
    async def aforward(self, x: int) -> int:
        await asyncio.sleep(0.01)
        return x + 1


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Leaf(), Leaf()

    def forward(self, x: int) -> int:
        return self.second(self.first(x))


async def native_leaf(x: int) -> int:
    await asyncio.sleep(0.01)
    return x + 1


async def native_two(x: int) -> int:
    return await native_leaf(await native_leaf(x))


async def flows() -> tuple[float, float]:
    """Seconds for 10,000 concurrent flows and for as many native coroutines."""
    two = Two()
    times: dict[str, list[float]] = {"flows": [], "native": []}
    for _ in range(9):
        for name, call in (("flows", two.acall), ("native", native_two)):
            start = time.perf_counter()
            await asyncio.gather(*(call(number) for number in range(10_000)))
            times[name].append(time.perf_counter() - start)
    return statistics.median(times["flows"]), statistics.median(times["native"])


def main() -> list[str]:
    """Rows of a Markdown table."""
    empty = Empty()
    blocking = each(lambda: empty(1), calls=20_000) - each(lambda: None, calls=20_000)
    awaited = asyncio.run(
        side_by_side({"acall": lambda: empty.acall(1), "nothing": native_nothing}, concurrent=1, calls=20_000, rounds=9)
    )
    concurrent, native = asyncio.run(flows())
    return [
        "| what | measured | at most |",
        "|---|---|---|",
        f"| `module(x)`, empty forward | {blocking:.2f} us | 1.5 us |",
        f"| `await module.acall(x)`, empty forward | {awaited['acall'] - awaited['nothing']:.2f} us | 6 us |",
        f"| 10,000 concurrent composites of two leaves | {concurrent:.3f} s, {concurrent / native:.2f} x native "
        f"({native:.3f} s) | 1.5 x |",
    ]


async def native_nothing() -> None:
    return None


if __name__ == "__main__":
    print("\n".join(main()))
