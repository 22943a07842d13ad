"""What flows cost, beside LazyLLM 1.4: each takes its turn in every round, steps do next to nothing."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.lazyllm_side import Side, lazyllm_side, missing
from msgflow import flow, nn
from msgflow._bridge import wait

ROUNDS = 9


def plus_one(x: int) -> int:
    return x + 1


class PlusOne(nn.Module):
    def forward(self, x: int) -> int:
        return x + 1


class Leaf(nn.Module):
    async def aforward(self, x: int) -> int:
        return x + 1


async def nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Contest:
    """One row. `theirs` is what lazyllm_rounds.py calls it, `at_most` microseconds; a round is some 20 ms."""

    what: str
    call: Callable[[int], Any]
    calls: int
    theirs: str = ""
    their_calls: int = 200
    at_most: str = ""
    is_awaited: bool = False

    def round(self) -> float:
        """Microseconds a call."""
        return asyncio.run(_awaited(self.call, self.calls)) if self.is_awaited else _called(self.call, self.calls)


def _called(call: Callable[[int], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call(1)
    return (time.perf_counter() - start) / calls * 1e6


async def _awaited(call: Callable[[int], Awaitable[object]], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        await call(1)
    return (time.perf_counter() - start) / calls * 1e6


def contests() -> list[Contest]:
    functions = (plus_one, plus_one, plus_one)
    leaves = flow.Parallel(Leaf(), Leaf(), Leaf())
    plain, modules = flow.Pipeline(*functions), flow.Pipeline(PlusOne(), PlusOne(), PlusOne())
    switch = flow.Switch({2: plus_one, 1: plus_one}, default=plus_one)
    loop = flow.Loop(plus_one, max_steps=4)
    return [
        Contest("`Pipeline` of three functions", plain, 5000, "pipeline of functions", at_most="5 us"),
        Contest("`Pipeline` of three modules", modules, 5000, "pipeline of modules", at_most="8 us"),
        Contest("the same, `await p.acall(x)`", modules.acall, 2000, is_awaited=True),
        Contest("`Switch`, the second case fits", switch, 5000, "switch"),
        Contest("`Loop` of four rounds", loop, 3000, "loop"),
        Contest("`Parallel` of three functions in threads", flow.Parallel(*functions), 100, "parallel"),
        Contest("`Parallel` of three async leaves", leaves, 200, "parallel", at_most="60 us and the hop"),
        Contest("the same, `await p.acall(x)`", leaves.acall, 500, "parallel", at_most="60 us", is_awaited=True),
        Contest("the hop to the background loop and back alone", lambda _: wait(nothing()), 500),
        Contest("`Graph` of three functions in threads", _graph(plus_one, max), 100, "graph"),
        Contest("`Graph` of three async leaves", _graph(Leaf(), _greatest), 200, "graph"),
        Contest("making a `Pipeline` of three", lambda _: flow.Pipeline(*functions), 500, "construction"),
    ]


async def _greatest(*numbers: int) -> int:
    return max(numbers)


def _graph(step: Callable[..., Any], last: Callable[..., Any]) -> flow.Graph:
    return flow.Graph().add("a", step).add("b", step).add("end", last, after=["a", "b"])


def in_turns(contest: Contest, sides: Mapping[str, Side]) -> dict[str, float]:
    """Microseconds a call, for msgflow and each side: the median over the rounds, after one to warm up."""
    turns: dict[str, Callable[[], float]] = {"msgflow": contest.round}
    if contest.theirs:
        turns |= {name: partial(side.round, contest.theirs, contest.their_calls) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn()
    for _ in range(ROUNDS):
        for name, turn in turns.items():
            times[name].append(turn())
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> list[str]:
    """A Markdown table; before it, why LazyLLM is not in it, where it is not."""
    reason = missing()
    rows = [
        *([reason, ""] if reason else []),
        "| what | LazyLLM takes | its tracing off | msgflow | LazyLLM | its tracing off | at most |",
        "|---|---|---|---|---|---|---|",
    ]
    with ExitStack() as stack:
        sides: dict[str, Side] = {}
        if reason is None:
            sides = {
                "traced": stack.enter_context(lazyllm_side(tracing=True)),
                "untraced": stack.enter_context(lazyllm_side(tracing=False)),
            }
        for contest in contests():
            taken = in_turns(contest, sides)
            ours = taken.pop("msgflow")
            ratios = " | ".join(
                f"{taken[name] / ours:.1f} x" if name in taken else "" for name in ("traced", "untraced")
            )
            times = " | ".join(f"{taken[name]:.0f} us" if name in taken else "" for name in ("traced", "untraced"))
            rows.append(f"| {contest.what} | {ratios} | {ours:.1f} us | {times} | {contest.at_most} |")
    return rows


if __name__ == "__main__":
    print("\n".join(main()))
