"""Saving and loading 1,000 prompts in each kind of file, and weights of 64 MiB where a file holds tensors."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy

import msgflow as mf

ROUNDS = 5
LINE = 'Answer the "question" with care; cite {{ sources }}, and never guess.\n'
KINDS = {"`.toml`": "s.toml", "`.json`": "s.json", "`.safetensors`": "s.safetensors", "folder": "s"}


def prompts(version: int) -> dict[str, Any]:
    """1,000 texts of some 500 characters in eight lines, three tables deep; every one differs between versions."""
    return {
        f"flow.step{number % 50}.agent{number}.instructions": f"{LINE * 7}Version {version} of {number}."
        for number in range(1000)
    }


def weights(version: int) -> dict[str, Any]:
    return {f"layer{number}.w": numpy.full((1024, 1024), version + number, "float32") for number in range(16)}


def measured(name: str, versions: Iterable[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Seconds to save to a new file, to save another version over it, and to load: medians."""
    first, second = versions
    times = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            times.append([_seconds(work) for work in _steps(path, first, second)])
    new, over, load = map(statistics.median, zip(*times, strict=True))
    return new, over, load


def _steps(path: Path, first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Callable[[], object]]:
    return [lambda: mf.save(first, path), lambda: mf.save(second, path), lambda: mf.load(path)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> list[str]:
    """Rows of a Markdown table."""
    rows = ["| what | save | save over | load | save over and load, at most |", "|---|---|---|---|---|"]
    for kind, name in KINDS.items():
        new, over, load = measured(name, [prompts(1), prompts(2)])
        rows.append(f"| 1,000 prompts, {kind} | {new:.3f} s | {over:.3f} s | {load:.3f} s | 1 s |")
    for kind in ("`.safetensors`", "folder"):
        new, over, load = measured(KINDS[kind], [weights(1), weights(2)])
        rows.append(f"| weights of 64 MiB, {kind} | {new:.3f} s | {over:.3f} s | {load:.3f} s | |")
    return rows


if __name__ == "__main__":
    print("\n".join(main()))
