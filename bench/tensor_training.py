"""Training an MLP beside PyTorch, each in a process of its own with as many threads.

In one process the threads of one library would wait for work, spinning, on the cores that the other one computes on.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SIZES, BATCH = (384, 512, 10), 256
STEPS, ROUNDS = 20, 9
PARTS = ("forward and loss", "backward", "AdamW.step, 202,250 parameters", "AdamW.step, 4,000,000 parameters")
LIBRARIES = ("msgflow", "torch")


def main() -> list[str]:
    """Rows of a Markdown table."""
    if not find_spec("torch"):
        return ["PyTorch is not installed, and nothing is compared; install it with: pip install 'msgflow[oracle]'"]
    rows = ["| what | msgflow / PyTorch | at most | msgflow, ms | PyTorch, ms |", "|---|---|---|---|---|"]
    name = "-".join(map(str, SIZES))
    for threads in sorted({1, os.cpu_count() or 1}):
        ours, theirs = _in_turns(threads)
        plural = "s" if threads > 1 else ""
        rows.append(_row(f"a step of an MLP {name}, batch {BATCH}, {threads} thread{plural}", "2.0", ours, theirs, 3))
        if threads == 1:
            rows += [_row(part, "", ours[place:], theirs[place:], 1) for place, part in enumerate(PARTS)]
    return rows


def _row(what: str, at_most: str, ours: list[float], theirs: list[float], parts: int) -> str:
    own, other = sum(ours[:parts]), sum(theirs[:parts])
    return f"| {what} | {own / other:.2f} | {at_most} | {own:.2f} | {other:.2f} |"


def _in_turns(threads: int) -> list[list[float]]:
    """For both libraries, milliseconds of each part: the median over the rounds."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.tensor_training", library, str(threads)],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **limits},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for library in LIBRARIES
    ]
    rounds: list[list[list[float]]] = [[] for _ in children]
    for _ in range(ROUNDS):
        for child, taken in zip(children, rounds, strict=True):
            assert child.stdin and child.stdout
            print("go", file=child.stdin, flush=True)
            taken.append(json.loads(child.stdout.readline()))
    for child in children:
        child.communicate()
    return [[statistics.median(part) for part in zip(*taken, strict=True)] for taken in rounds]


# --- one of the two processes ----------------------------------------------------------------------------------------


def _serve(library: str, threads: int) -> None:
    """A line of milliseconds a part for every line that comes; the first goes to warming up as well."""
    parts = (_of_msgflow if library == "msgflow" else _of_torch)(threads)
    for part in parts:
        part()
    for _ in sys.stdin:
        # The last would drive what the others use out of the processor's caches.
        print(json.dumps([*_medians(parts[:-1]), *_medians(parts[-1:])]), flush=True)


def _medians(parts: list[Callable[[], object]]) -> list[float]:
    times: list[list[float]] = [[] for _ in parts]
    for _ in range(STEPS):
        for part, taken in zip(parts, times, strict=True):
            start = time.perf_counter()
            part()
            taken.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(taken) for taken in times]


def _of_msgflow(threads: int) -> list[Callable[[], object]]:
    import numpy as np

    import msgflow.nn as nn
    import msgflow.tensor as mt
    from msgflow import optim

    features, hidden, classes = SIZES
    model = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    large = [mt.zeros((1000, 1000), requires_grad=True) for _ in range(4)]
    for weight in large:
        weight.grad = mt.ones((1000, 1000))
    x, labels = mt.normal((BATCH, features)), mt.tensor(np.arange(BATCH) % classes)
    return _parts(model, x, labels, mt.cross_entropy, optim.AdamW(model.parameters()), optim.AdamW(large))


def _of_torch(threads: int) -> list[Callable[[], object]]:
    import torch
    from torch import nn, optim

    torch.set_num_threads(threads)
    features, hidden, classes = SIZES
    model = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, classes))
    large = [torch.zeros(1000, 1000, requires_grad=True) for _ in range(4)]
    for weight in large:
        weight.grad = torch.ones(1000, 1000)
    x, labels = torch.randn(BATCH, features), torch.arange(BATCH) % classes
    loss = torch.nn.functional.cross_entropy
    return _parts(model, x, labels, loss, optim.AdamW(model.parameters()), optim.AdamW(large))


def _parts(model: Any, x: Any, labels: Any, loss: Any, small: Any, large: Any) -> list[Callable[[], object]]:
    """The same words train in both libraries."""
    last: list[Any] = [None]

    def forward() -> None:
        last[0] = loss(model(x), labels)

    def backward() -> None:
        last[0].backward()

    def step() -> None:
        small.step()
        small.zero_grad()

    return [forward, backward, step, large.step]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _serve(sys.argv[1], int(sys.argv[2]))
    else:
        print(*main(), sep="\n")
