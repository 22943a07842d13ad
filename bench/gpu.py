"""msgflow.tensor on a GPU: compared with float64 on the CPU, then timed beside what the device can do.

    make gpu                          one line, and nothing else, where there is no GPU or no cupy
    python bench/gpu.py --device cpu  the comparisons alone, on numpy: whether this program itself is right

Ends with status 1 where a comparison fails.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import msgflow.nn as nn
import msgflow.tensor as mt
from bench.gpu_limits import limits
from msgflow import optim
from msgflow.errors import DeviceError

# How far a result may be from float64's, relative to the largest number of it: a few units in the last place of the
# type, and for float32 the sums of some thousand products.
TOLERANCES = {"float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
ROWS, WIDTH = 256, 384


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: how far off a result is, and how far it may be."""

    what: str
    error: float
    at_most: float

    def __str__(self) -> str:
        verdict = "ok" if self.error <= self.at_most else "TOO FAR OFF"  # NaN is, too
        return f"| {self.what} | {self.error:.1e} | {self.at_most:.0e} | {verdict} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 ..., or cpu to compare only")
    device: str = parser.parse_args().device
    try:
        mt.zeros(1, device=device)
    except DeviceError as reason:
        print(f"nothing to do on a GPU: {reason}")
        return 0
    failed = False
    print("| what | off by | at most | |\n|---|---|---|---|")
    for comparison in comparisons(device):
        print(comparison, flush=True)
        failed |= not comparison.error <= comparison.at_most
    if device != "cpu":
        suite = [sys.executable, "-m", "pytest", "-m", "gpu", str(Path(__file__).parent.parent / "tests")]
        failed |= subprocess.run(suite, check=False).returncode != 0
        print(*limits(device), sep="\n")
    return 1 if failed else 0


def comparisons(device: str) -> Iterator[Comparison]:
    """Every part of the room, with the same numbers on the device and in float64 on the CPU."""
    for dtype, tolerance in TOLERANCES.items():
        for name, operation in OPERATIONS.items():
            yield Comparison(f"{name}, {dtype}", _off(operation, dtype, device), tolerance)
    yield Comparison("gradients of a TransformerEncoderLayer", _gradients_off(device), 1e-4)
    yield Comparison("a loss after 20 steps of AdamW", _training_off(device), 1e-3)
    yield Comparison("a Runtime, run three times with new inputs and weights", _runtime_off(device), 1e-4)


Numbers = Callable[..., mt.Tensor]


def _attention(draw: Numbers) -> mt.Tensor:
    q, k, v = (draw(4, 64, 32) for _ in range(3))
    return mt.scaled_dot_product_attention(q, k, v, is_causal=True)


def _conv1d(draw: Numbers) -> mt.Tensor:
    return mt.conv1d(draw(4, 16, 64), draw(8, 16, 3), draw(8), padding=1)


# Each takes a function that draws numbers of a shape, and gives a tensor.
OPERATIONS: dict[str, Callable[[Numbers], mt.Tensor]] = {
    "add, broadcast": lambda draw: draw(ROWS, WIDTH) + draw(WIDTH),
    "multiply": lambda draw: draw(ROWS, WIDTH) * draw(ROWS, 1),
    "divide": lambda draw: draw(ROWS, WIDTH) / (mt.abs(draw(WIDTH)) + 1.0),
    "exp": lambda draw: mt.exp(draw(ROWS, WIDTH)),
    "tanh": lambda draw: mt.tanh(draw(ROWS, WIDTH)),
    "gelu": lambda draw: mt.gelu(draw(ROWS, WIDTH)),
    "gelu by tanh": lambda draw: mt.gelu(draw(ROWS, WIDTH), approximate="tanh"),
    "silu": lambda draw: mt.silu(draw(ROWS, WIDTH)),
    "sum": lambda draw: mt.sum(draw(ROWS, WIDTH), axis=-1),
    "mean": lambda draw: mt.mean(draw(ROWS, WIDTH), axis=0),
    "matmul": lambda draw: mt.matmul(draw(ROWS, WIDTH), draw(WIDTH, ROWS)),
    "matmul, batched and transposed": lambda draw: mt.matmul(draw(4, 8, 32), draw(4, 16, 32), transpose_b=True),
    "softmax": lambda draw: mt.softmax(draw(ROWS, WIDTH)),
    "log_softmax": lambda draw: mt.log_softmax(draw(ROWS, WIDTH)),
    "layernorm": lambda draw: mt.layernorm(draw(ROWS, WIDTH), draw(WIDTH), draw(WIDTH)),
    "rmsnorm": lambda draw: mt.rmsnorm(draw(ROWS, WIDTH), draw(WIDTH)),
    "attention": _attention,
    "conv1d": _conv1d,
    "concat, stack, transpose": lambda draw: mt.concat([mt.stack([draw(8, 4), draw(8, 4)]), draw(2, 8, 4)]).mT,
    "topk": lambda draw: mt.topk(draw(ROWS, WIDTH), 10)[0],
    "mse_loss": lambda draw: mt.mse_loss(draw(ROWS, WIDTH), draw(ROWS, WIDTH)),
    "info_nce": lambda draw: mt.info_nce(draw(32, WIDTH), draw(32, WIDTH)),
}


def _off(operation: Callable[[Numbers], mt.Tensor], dtype: str, device: str) -> float:
    rng = np.random.default_rng(0)
    drawn: list[mt.Tensor] = []

    def draw(*shape: int) -> mt.Tensor:
        drawn.append(mt.tensor(rng.standard_normal(shape), dtype=dtype, device=device))
        return drawn[-1]

    result = operation(draw)
    again = iter(drawn)
    exact = operation(lambda *shape: next(again).cpu().to(mt.float64))
    return _distance(result, exact)


def _distance(result: mt.Tensor, exact: mt.Tensor) -> float:
    off = np.abs(result.cpu().to(mt.float64).to_numpy() - exact.to_numpy())
    return float(off.max() / max(np.abs(exact.to_numpy()).max(), 1e-30))


def _gradients_off(device: str) -> float:
    layer, exact = _twins(lambda: nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True), device)
    x, y = np.random.default_rng(0).standard_normal((2, 8, 16, 64))
    for module, where, dtype in ((layer, device, mt.float32), (exact, "cpu", mt.float64)):
        inputs, target = (mt.tensor(numbers, dtype=dtype, device=where) for numbers in (x, y))
        mt.mse_loss(module(inputs), target).backward()
    pairs = zip(layer.parameters(), exact.parameters(), strict=True)
    return max(_distance(ours.grad, theirs.grad) for ours, theirs in pairs)


def _twins(make: Callable[[], nn.Module], device: str) -> tuple[nn.Module, nn.Module]:
    """The same module on the device in float32, and on the CPU in float64."""
    mt.manual_seed(0)
    exact = make()
    ours = make()
    ours.load_state_dict(exact.state_dict())
    return ours.to(device), exact.to(dtype=mt.float64)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 10))


def _training_off(device: str) -> float:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, WIDTH)), rng.integers(0, 10, 64)
    losses = []
    for module, where, dtype in zip(_twins(_mlp, device), (device, "cpu"), (mt.float32, mt.float64), strict=True):
        inputs, targets = mt.tensor(x, dtype=dtype, device=where), mt.tensor(y, device=where)
        optimizer = optim.AdamW(module.parameters(), lr=1e-3)
        for _ in range(20):
            loss = mt.cross_entropy(module(inputs), targets)
            module.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    return abs(losses[0] / losses[1] - 1)


def _runtime_off(device: str) -> float:
    module, exact = _twins(_mlp, device)
    placeholder = mt.empty((64, WIDTH), device=device)
    runtime = mt.Runtime()
    with runtime:
        output = module(placeholder)
    runtime.launch()
    furthest = 0.0
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((64, WIDTH)).astype(np.float32)
        state = {key: value * (seed + 1.0) for key, value in exact.state_dict().items()}
        exact.load_state_dict(state)
        module.load_state_dict({key: value.to(device, mt.float32) for key, value in state.items()})
        placeholder.from_numpy(x)
        runtime.run()
        furthest = max(furthest, _distance(output, exact(mt.tensor(x, dtype=mt.float64))))
    runtime.stop()
    return furthest


if __name__ == "__main__":
    sys.exit(main())
