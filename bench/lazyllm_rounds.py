"""LazyLLM's side of the flow benchmarks: reads lines of `calls what`, answers each with microseconds a call.

Run by lazyllm_side.py, with an interpreter that has LazyLLM and not msgflow.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import lazyllm


def plus_one(x: int) -> int:
    return x + 1


class PlusOne(lazyllm.ModuleBase):  # type: ignore[misc]
    def forward(self, x: int) -> int:
        return x + 1


def sleeping(_: int) -> None:
    time.sleep(0.01)


def graph() -> Any:
    with lazyllm.graph() as made:
        made.a, made.b, made.end = plus_one, plus_one, max
    made.add_edge("__start__", ["a", "b"])
    made.add_edge(["a", "b"], "end")
    made.add_edge("end", "__end__")
    return made


def nested() -> Any:
    made = lazyllm.pipeline(plus_one)
    for _ in range(199):
        made = lazyllm.pipeline(made)
    return made


FLOWS: dict[str, Callable[[], Any]] = {
    "pipeline of functions": lambda: lazyllm.pipeline(plus_one, plus_one, plus_one),
    "pipeline of modules": lambda: lazyllm.pipeline(PlusOne(), PlusOne(), PlusOne()),
    "parallel": lambda: lazyllm.parallel(plus_one, plus_one, plus_one),
    "switch": lambda: lazyllm.switch({2: plus_one, 1: plus_one, "default": plus_one}),
    "loop": lambda: lazyllm.loop(plus_one, count=4),
    "graph": graph,
    "construction": lambda: lambda _: lazyllm.pipeline(plus_one, plus_one, plus_one),
    "1,000 steps": lambda: lazyllm.pipeline(*[plus_one] * 1000),
    "200 deep": nested,
    "10,000 items": lambda: lambda _: lazyllm.warp(sleeping, _concurrent=1000)(list(range(10_000))),
}


def microseconds(call: Callable[[int], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call(1)
    return (time.perf_counter() - start) / calls * 1e6


def main() -> None:
    made: dict[str, Any] = {}
    for line in sys.stdin:
        calls, _, what = line.strip().partition(" ")
        try:
            if what not in made:
                made[what] = FLOWS[what]()
                if int(calls) > 1:
                    microseconds(made[what], int(calls) // 4)  # the first calls import what they need
            print(microseconds(made[what], int(calls)), flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
