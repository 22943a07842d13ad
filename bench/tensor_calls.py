"""What an operation costs over numpy's own, and matrix products beside numpy's and PyTorch's."""

import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np

import msgflow.tensor as mt
from bench.measure import in_turns

CALLS, ROUNDS = 5_000, 15


def main() -> list[str]:
    """Rows of Markdown tables."""
    return [*_overheads(), "", *_products(), "", *_import_time()]


def _overheads() -> list[str]:
    numbers = np.ones(8, np.float32)
    square = np.ones((8, 8), np.float32)
    plain, watched = mt.tensor(numbers), mt.tensor(numbers, requires_grad=True)
    plain_square, watched_square = mt.tensor(square), mt.tensor(square, requires_grad=True)
    shapes: dict[str, tuple[Callable[[], object], Callable[[], object], Callable[[], object]]] = {
        "x + y": (lambda: numbers + numbers, lambda: plain + plain, lambda: watched + plain),
        "x * 2.0": (lambda: numbers * 2.0, lambda: plain * 2.0, lambda: watched * 2.0),
        "exp(x)": (lambda: np.exp(numbers), lambda: mt.exp(plain), lambda: mt.exp(watched)),
        "x @ y": (lambda: square @ square, lambda: plain_square @ plain_square, lambda: watched_square @ plain_square),
        "x.sum()": (lambda: numbers.sum(), lambda: plain.sum(), lambda: watched.sum()),
        "x.reshape(2, 4)": (
            lambda: numbers.reshape(2, 4),
            lambda: plain.reshape(2, 4),
            lambda: watched.reshape(2, 4),
        ),
    }
    rows = [
        "| over numpy, microseconds | numpy | without gradients (at most 1.0) | with (at most 3) |",
        "|---|---|---|---|",
    ]
    for what, (by_numpy, without, with_grad) in shapes.items():
        times = in_turns({"numpy": by_numpy, "without": without, "with": with_grad}, calls=CALLS, rounds=ROUNDS)
        bare = times["numpy"]
        rows.append(f"| `{what}` | {bare:.2f} | {times['without'] - bare:+.2f} | {times['with'] - bare:+.2f} |")
    return rows


def _products() -> list[str]:
    """Products as large as those of models; the times of the libraries are those of the same threads."""
    rows = ["| product | msgflow / numpy | at most | numpy, ms | PyTorch, ms |", "|---|---|---|---|---|"]
    rng = np.random.default_rng(0)
    for dtype, (m, k, n), at_most in [
        ("float32", (1024, 1024, 1024), "1.05"),
        ("float32", (64, 512, 2048), ""),
        ("float16", (64, 512, 2048), "0.2"),
    ]:
        x, y = (rng.random(shape, np.float32).astype(dtype) for shape in [(m, k), (k, n)])
        a, b = mt.tensor(x), mt.tensor(y)
        calls = 1 if dtype == "float16" else 3
        contestants: dict[str, Callable[[], object]] = {
            "numpy": lambda x=x, y=y: x @ y,  # type: ignore[misc]
            "msgflow": lambda a=a, b=b: a @ b,  # type: ignore[misc]
        }
        if find_spec("torch"):
            import torch

            p, q = torch.tensor(x), torch.tensor(y)
            contestants["torch"] = lambda p=p, q=q: p @ q  # type: ignore[misc]
        times = in_turns(contestants, calls=calls, rounds=ROUNDS)
        torch_ms = f"{times['torch'] / 1e3:.2f}" if "torch" in times else ""
        ratio = times["msgflow"] / times["numpy"]
        rows.append(f"| {m} x {k} x {n} {dtype} | {ratio:.2f} | {at_most} | {times['numpy'] / 1e3:.2f} | {torch_ms} |")
    return rows


def _import_time() -> list[str]:
    statements = ["pass", "import msgflow.tensor", "import msgflow.tensor as mt; mt.ones(2) + 1.0"]
    times: dict[str, list[float]] = {statement: [] for statement in statements}
    for _ in range(15):
        for statement, taken in times.items():
            program = f"import time, numpy; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            taken.append(float(done.stdout) * 1e3)
    _, alone, used = (statistics.median(taken) for taken in times.values())
    return [
        "| after `import numpy` | milliseconds | at most |",
        "|---|---|---|",
        f"| `{statements[1]}` | {alone:.0f} | 30 |",
        f"| `{statements[2]}` | {used:.0f} | |",
    ]


if __name__ == "__main__":
    print(*main(), sep="\n")
