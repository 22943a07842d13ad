"""Medians of several rounds, contestants taking turns, so that a slow moment hits all of them."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping

Contestant = Callable[[], Awaitable[object]]


async def side_by_side(
    contestants: Mapping[str, Contestant], *, concurrent: int, calls: int, rounds: int
) -> dict[str, float]:
    """Microseconds a call, for each contestant: the median over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        await _round(contestant, concurrent, calls // 4)
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(await _round(contestant, concurrent, calls))
    return {name: statistics.median(taken) for name, taken in times.items()}


async def _round(contestant: Contestant, concurrent: int, calls: int) -> float:
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await contestant()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrent)))
    return (time.perf_counter() - start) / calls * 1e6


def each(function: Callable[[], object], *, calls: int, rounds: int = 9) -> float:
    """Microseconds a call of a plain function: the median over the rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        times.append((time.perf_counter() - start) / calls * 1e6)
    return statistics.median(times)


def in_turns(contestants: Mapping[str, Callable[[], object]], *, calls: int, rounds: int = 9) -> dict[str, float]:
    """Microseconds a call of plain functions that take turns: the median over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        contestant()
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(each(contestant, calls=calls, rounds=1))
    return {name: statistics.median(taken) for name, taken in times.items()}
