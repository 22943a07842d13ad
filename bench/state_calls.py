"""What versions cost: reading, pinning, publishing while calls run, and moving whole states."""

import asyncio
import statistics
import threading
import time

from bench.measure import each
from msgflow import nn

READS = 1_000


class Reading(nn.Module):
    """Reads its prompt many times within one call; the answer is the time of one, in microseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.prompt = nn.Parameter("Be kind")

    def forward(self) -> float:
        start = time.perf_counter()
        for _ in range(READS):
            self.prompt  # noqa: B018  # reading is what is measured
        return (time.perf_counter() - start) / READS * 1e6


class Empty(nn.Module):
    def forward(self) -> None:
        return None


class Waiting(nn.Module):
    """A call that looks at its prompts, waits, and looks again."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(1_000):
            self.register_parameter(f"p{number}", nn.Parameter("old"))

    async def aforward(self, wait_s: float) -> None:
        before = self.p0
        await asyncio.sleep(wait_s)
        assert self.p999 == before


def publishing() -> tuple[float, float]:
    """Milliseconds: `load_state_dict` of 1,000 values while 1,000 calls run, and how much later it makes a call."""
    module = Waiting()
    states = [dict.fromkeys(module.state_dict(), text) for text in ("new", "old")]
    windows: list[tuple[float, float]] = []
    calls: list[tuple[float, float]] = []

    def publish_often() -> None:
        for number in range(100):
            time.sleep(0.02)
            start = time.perf_counter()
            module.load_state_dict(states[number % 2])
            windows.append((start, time.perf_counter()))

    async def probing() -> None:
        async def again() -> None:
            while thread.is_alive():
                await module.acall(1.0)

        waiting = [asyncio.ensure_future(again()) for _ in range(1_000)]
        await asyncio.sleep(0)
        thread.start()
        while thread.is_alive():
            start = time.perf_counter()
            await module.acall(0.0005)
            calls.append((start, time.perf_counter()))
        await asyncio.gather(*waiting)

    def slowest(window: tuple[float, float]) -> float:
        start, end = window
        return max((done - began for began, done in calls if done > start and began < end), default=0.0)

    thread = threading.Thread(target=publish_often)
    asyncio.run(probing())
    # As long a time as the publish took, just before it.
    quiet = statistics.median(slowest((2 * start - end - 0.001, start - 0.001)) for start, end in windows)
    busy = statistics.median(slowest(window) for window in windows)
    return statistics.median(end - start for start, end in windows) * 1e3, (busy - quiet) * 1e3


def whole_states() -> float:
    """Milliseconds for `state_dict` and `load_state_dict` of 10,000 parameters in 100 modules."""
    root = nn.Module()
    for number in range(100):
        root.register_module(f"m{number}", nn.Module())
        for index in range(100):
            root.get_submodule(f"m{number}").register_parameter(f"p{index}", nn.Parameter("Be helpful and concise"))
    return each(lambda: root.load_state_dict(root.state_dict()), calls=1) / 1e3


def main() -> list[str]:
    """Rows of a Markdown table."""
    reading, empty = Reading(), Empty()
    read = statistics.median(reading() for _ in range(200))
    root = each(empty, calls=20_000) - each(lambda: None, calls=20_000)
    published, later = publishing()
    return [
        "| what | measured | at most |",
        "|---|---|---|",
        f"| reading a text parameter inside a call | {read:.2f} us | 0.5 us |",
        f"| an empty root call, pin and unpin included | {root:.2f} us | 2 us |",
        f"| `load_state_dict` of 1,000 values while 1,000 calls run | {published:.1f} ms | 5 ms |",
        f"| how much later the slowest call meanwhile ends | {later:.2f} ms | 1 ms |",
        f"| `state_dict` plus `load_state_dict` of 10,000 parameters | {whole_states():.0f} ms | 60 ms |",
    ]


if __name__ == "__main__":
    print("\n".join(main()))
