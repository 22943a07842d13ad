"""Matrix products and a search among vectors on a GPU, beside the fastest that cupy and the device's memory give."""

from collections.abc import Callable
from typing import Any

import msgflow.nn as nn
import msgflow.tensor as mt

SIDE = 4096
VECTORS, LENGTH, QUERIES, BEST = 1_000_000, 384, 64, 10


def limits(device: str) -> list[str]:
    """Rows of Markdown tables. Needs cupy and a GPU."""
    import cupy

    with cupy.cuda.Device(int(device.partition(":")[2] or 0)):
        name = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
        return ["", f"{name}, cupy {cupy.__version__}", "", *_products(), "", *_search(), "", *_graph(device)]


def _milliseconds(function: Callable[[], object], times: int = 20) -> float:
    """The median by the device's own clock, once everything is warm."""
    from cupyx.profiler import benchmark

    return float(sorted(benchmark(function, n_repeat=times, n_warmup=3).gpu_times[0])[times // 2] * 1e3)


def _products() -> list[str]:
    """Operations counted: two for each of side**3 products and sums."""
    import cupy

    rows = ["| product of 4096 x 4096 | TFLOP/s | cupy's own, into a given array | share of it |", "|---|---|---|---|"]
    for dtype in ("float32", "float16", "bfloat16"):
        numbers = cupy.random.default_rng(0).standard_normal((SIDE, SIDE), dtype="float32")
        x = mt.tensor(numbers).to(dtype=dtype)
        ours = _milliseconds(lambda x=x: x @ x)  # type: ignore[misc]
        # cupy has no bfloat16: there, float16 is what the device can do with as many bytes.
        native = numbers.astype("float32" if dtype == "float32" else "float16")
        place = cupy.empty_like(native)
        best = _milliseconds(lambda native=native, place=place: cupy.matmul(native, native, out=place))  # type: ignore[misc]
        rows.append(f"| {dtype} | {_teraflops(ours):.1f} | {_teraflops(best):.1f} | {best / ours:.0%} |")
    return rows


def _teraflops(milliseconds: float) -> float:
    return 2 * SIDE**3 / milliseconds / 1e9


def _search() -> list[str]:
    """Bytes counted: each vector is read once, each score written once and read once."""
    import cupy

    random: Any = cupy.random.default_rng(0)
    vectors = random.standard_normal((VECTORS, LENGTH), dtype="float32")
    queries = random.standard_normal((QUERIES, LENGTH), dtype="float32")
    corpus, asked = mt.tensor(vectors), mt.tensor(queries)
    ours = _milliseconds(lambda: mt.topk(mt.matmul(asked, corpus, transpose_b=True), BEST))
    theirs = _milliseconds(lambda: cupy.argpartition(queries @ vectors.T, -BEST, axis=1)[:, -BEST:])
    copy = cupy.empty_like(vectors)
    copying = _milliseconds(lambda: cupy.copyto(copy, vectors))
    moved = 4 * (VECTORS * LENGTH + 2 * QUERIES * VECTORS)
    bandwidth = 2 * vectors.nbytes / copying
    return [
        f"| the {BEST} best of {VECTORS} vectors for {QUERIES} queries | ms | GB/s |",
        "|---|---|---|",
        f"| msgflow | {ours:.2f} | {moved / ours / 1e6:.0f} |",
        f"| cupy's product and argpartition | {theirs:.2f} | {moved / theirs / 1e6:.0f} |",
        f"| the memory, copying | {moved / bandwidth:.2f} | {bandwidth / 1e6:.0f} |",
    ]


def _graph(device: str) -> list[str]:
    """What a captured graph spares: the launches of many small kernels."""
    mt.manual_seed(0)
    layer = nn.TransformerEncoderLayer(384, 12, 1536, dropout=0.0, batch_first=True).to(device).eval()
    x = mt.empty((8, 64, 384), device=device)
    runtime = mt.Runtime()
    with runtime:
        output = layer(x)  # what nobody holds is not computed
    runtime.launch()
    with mt.no_grad():
        eager = _milliseconds(lambda: layer(x))
    captured = _milliseconds(lambda: runtime.run())
    runtime.stop()
    return [
        "| TransformerEncoderLayer, 8 x 64 x 384 | ms |",
        "|---|---|",
        f"| eager | {eager:.3f} |",
        f"| Runtime.run, {output.size} numbers | {captured:.3f} |",
    ]
