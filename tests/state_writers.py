"""Writers of states that are killed, in a process of its own: `python -m tests.state_writers TASK FILE [NUMBER...]`.

The process forks a writer a kill, which takes milliseconds, and prints what it found as JSON. It has no threads, so
that a fork is safe.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy
import safetensors.numpy  # noqa: F401  (loaded before the forks, and not once in each)

import msgflow as mf
from msgflow.state import disk

TENSOR_FORMATS = ("", ".safetensors")


def two_states(path: Path) -> dict[str, dict[str, object]]:
    """States of some 100 kB, which differ in every value."""
    states: dict[str, dict[str, object]] = {}
    for number, name in enumerate(("a", "b")):
        states[name] = {f"flow.step{key % 7}.p{key}": f"{name} says\n{key}\n" * 40 for key in range(60)}
        if path.suffix in TENSOR_FORMATS:
            states[name] |= {"w": numpy.full((200, 64 + number), number, "float32"), "n": numpy.array(number)}
    return states


def which(path: Path, states: dict[str, dict[str, object]]) -> str:
    """The name of the state that the path holds. Raises AssertionError for a mix."""
    loaded = mf.load(path)
    for name, state in states.items():
        if loaded.keys() == state.keys() and all(numpy.array_equal(loaded[key], state[key]) for key in state):
            return name
    raise AssertionError(f"neither of the two states, but one of the keys {sorted(loaded)[:3]}...")


def forked(work: Callable[[], object]) -> int:
    """The id of a new process that does the work and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return child


def save_for_ever(path: Path, states: dict[str, dict[str, object]], begun: int | None = None) -> None:
    if begun is not None:
        os.write(begun, b"!")
    while True:
        for state in states.values():
            mf.save(state, path)


def kill_at_random(path: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill writers at random moments, up to four saves long."""
    states = two_states(path)
    chance = random.Random(seed)
    start = time.perf_counter()
    for state in (*states.values(), *states.values()):
        mf.save(state, path)
    four_saves_s = time.perf_counter() - start
    found: Counter[str] = Counter()
    cut_off = 0
    for _ in range(kills):
        before = leftovers(path)
        begun, tell = os.pipe()
        writer = forked(lambda tell=tell: save_for_ever(path, states, tell))
        os.read(begun, 1)
        time.sleep(chance.uniform(0, four_saves_s))
        os.kill(writer, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL
        os.close(begun)
        os.close(tell)
        found[which(path, states)] += 1
        cut_off += leftovers(path) != before
    return {"found": found, "cut_off": cut_off, **cleaned(path, states)}


def kill_before_each_step(path: Path) -> dict[str, object]:
    """Kill a writer before its first system call with a name in Python's audit table, then another before its second..

    Between two of them nothing changes on the disk but the content of a temporary file.
    """
    states = two_states(path)
    disk.GRACE_S = 0  # else what was left behind would add steps to those of each later writer
    order, killed = "", True
    step = 0
    while killed:
        mf.save(states["a"], path)
        step += 1
        writer = forked(lambda step=step: save_to_step(step, states["b"], path))
        status = os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        killed = status != 0
        order += which(path, states)
    return {"order": order, **cleaned(path, states)}


def save_to_step(last: int, state: dict[str, object], path: Path) -> None:
    steps = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event.startswith(("os.", "open", "fcntl.")):
            steps += 1
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    mf.save(state, path)


def read_while_writing(path: Path, writers: int, seconds: float) -> dict[str, object]:
    """Load while writers save, for some seconds, and on until each state was seen or patience ends."""
    states = two_states(path)
    mf.save(states["a"], path)
    children = [forked(lambda: save_for_ever(path, states)) for _ in range(writers)]
    found: Counter[str] = Counter()
    stop = time.monotonic() + seconds
    try:
        while time.monotonic() < stop or (len(found) < 2 and time.monotonic() < stop + 20):
            found[which(path, states)] += 1
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return {"found": found, **cleaned(path, states)}


def leftovers(path: Path) -> list[str]:
    """The names of files that saving should not leave behind."""
    folders = [path.parent, path] if path.is_dir() else [path.parent]
    return sorted(
        entry.name for folder in folders for entry in folder.iterdir() if entry.name.startswith((".", "tensors-"))
    )


def cleaned(path: Path, states: dict[str, dict[str, object]]) -> dict[str, object]:
    """What is there after one more save, some time later."""
    disk.GRACE_S = 0
    mf.save(states["b"], path)
    assert which(path, states) == "b"
    return {"leftovers": leftovers(path)}


TASKS = {
    "kill_at_random": lambda path, kills, seed: kill_at_random(path, int(kills), int(seed)),
    "kill_before_each_step": kill_before_each_step,
    "read_while_writing": lambda path, writers, seconds: read_while_writing(path, int(writers), float(seconds)),
}

if __name__ == "__main__":
    task, name, *numbers = sys.argv[1:]
    print(json.dumps(TASKS[task](Path(name), *numbers)))
