"""A block of a model, eagerly and through a Runtime, beside the same written by hand in numpy, and in PyTorch."""

import os
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

import msgflow.nn as nn
import msgflow.tensor as mt
from bench.measure import in_turns

ROUNDS = 25
BATCH, ROWS, WIDTH, INNER = 1, 64, 512, 2048
BUDGETS = {"eager": "1.3", "Runtime.run": "1.05"}


class Block(nn.Module):
    """relu(x W1) W2 + x, normalised."""

    def __init__(self, dtype: mt.DType) -> None:
        super().__init__()
        self.weight_1 = nn.Parameter(mt.empty((WIDTH, INNER), dtype))
        self.weight_2 = nn.Parameter(mt.empty((INNER, WIDTH), dtype))

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        hidden = mt.matmul(x, self.weight_1, is_relu=True)
        return mt.layernorm(mt.matmul(hidden, self.weight_2) + x)


def by_hand(x: np.ndarray, weight_1: np.ndarray, weight_2: np.ndarray) -> np.ndarray:
    """What somebody writes who knows numpy."""
    y = np.maximum(x @ weight_1, 0) @ weight_2 + x
    y -= y.mean(-1, keepdims=True)
    y /= np.sqrt(np.square(y).mean(-1, keepdims=True) + np.float32(1e-5))
    return y


def main() -> list[str]:
    """Rows of Markdown tables."""
    return [*_block("float32"), "", *_block("float16"), "", *_overhead()]


def _numbers(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = [(BATCH, ROWS, WIDTH), (WIDTH, INNER), (INNER, WIDTH)]
    return [((rng.random(shape, np.float32) - 0.5) * 0.1).astype(dtype) for shape in shapes]


def _block(dtype: str) -> list[str]:
    x, weight_1, weight_2 = _numbers(dtype)
    block = Block(getattr(mt, dtype))
    block.load_state_dict({"weight_1": weight_1, "weight_2": weight_2})
    given, runtime = mt.tensor(x), mt.Runtime()
    with runtime:
        out = block(given)
    runtime.launch()
    runtime.run()
    wide = [array.astype(np.float32) for array in (x, weight_1, weight_2)]
    assert np.abs(out.to_numpy() - by_hand(*wide)).max() < (1e-4 if dtype == "float32" else 1e-2)
    contestants: dict[str, Callable[[], object]] = {
        "numpy": lambda: by_hand(*wide),
        "eager": lambda: block(given),
        "Runtime.run": runtime.run,
    }
    times = in_turns(contestants, calls=3, rounds=ROUNDS)
    if find_spec("torch") and dtype == "float32":
        # Not in turns with the others: its threads go on spinning for a while after each call, and slow them down.
        times |= in_turns({"PyTorch": _torch(*wide)}, calls=3, rounds=ROUNDS)
    rows = [
        f"| {BATCH}x{ROWS}x{WIDTH}x{INNER} {dtype} | / numpy in float32 | at most | ms | bytes taken a call |",
        "|---|---|---|---|---|",
    ]
    for name, taken in times.items():
        at_most = BUDGETS.get(name, "") if dtype == "float32" else ""
        memory = f"{_peak(contestants[name]):,}" if name != "PyTorch" else ""
        rows.append(f"| {name} | {taken / times['numpy']:.2f} | {at_most} | {taken / 1e3:.2f} | {memory} |")
    return rows


def _torch(x: np.ndarray, weight_1: np.ndarray, weight_2: np.ndarray) -> Callable[[], object]:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)  # as many as numpy's
    given, first, second = (torch.from_numpy(array) for array in (x, weight_1, weight_2))

    def block() -> object:
        with torch.inference_mode():
            y = torch.relu(given @ first) @ second + given
            return torch.nn.functional.layer_norm(y, (WIDTH,))

    return block


def _peak(function: Callable[[], object]) -> int:
    """Bytes that Python and numpy take at most during a call."""
    tracemalloc.start()
    function()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    kept = function()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    del kept
    return peak


def _overhead() -> list[str]:
    """Programs of many small operations, where what counts is what an operation costs by itself."""
    x, y = mt.ones(8), mt.ones(8)

    def small(x: mt.Tensor) -> mt.Tensor:
        for _ in range(25):
            x = mt.sin(x) * y
            x = (x.reshape(2, 4) + x[:4]).reshape(8)
        return x

    runtime = mt.Runtime()
    with runtime:
        out = small(x)
    runtime.launch()
    times = in_turns({"eager": lambda: small(x), "Runtime.run": runtime.run}, calls=50)
    assert np.array_equal(out.to_numpy(), small(x).to_numpy())
    count = len(runtime.plan.program.operations)
    rows = [f"| {count} operations on 8 numbers | microseconds an operation |", "|---|---|"]
    return [*rows, *(f"| {name} | {taken / count:.2f} |" for name, taken in times.items())]


if __name__ == "__main__":
    print("\n".join(main()))
