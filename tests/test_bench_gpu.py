"""The check on a GPU says so where there is none, and what it compares is right on numpy."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import msgflow.tensor as mt
from bench import gpu
from tests.tensor_backends import gpu as no_gpu

PROGRAM = Path(__file__).parent.parent / "bench" / "gpu.py"


def test_without_a_gpu_it_says_so_in_one_line_and_succeeds():
    if no_gpu() is None:
        pytest.skip("there is a GPU")
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to do on a GPU: the device 'cuda' needs ") and done.stdout.count("\n") == 1


def test_what_it_compares_is_right_on_numpy():
    assert [
        str(comparison) for comparison in gpu.comparisons("cpu") if not comparison.error <= comparison.at_most
    ] == []


def test_it_finds_what_is_wrong(monkeypatch):
    """An operation that gives something else the second time, which is the exact one."""
    factors = iter([2.0, 1.0])
    monkeypatch.setattr(gpu, "TOLERANCES", {"float32": 1e-5})
    monkeypatch.setattr(gpu, "OPERATIONS", {"wrong": lambda draw: draw(3) * next(factors)})
    first = next(gpu.comparisons("cpu"))
    assert first.error > first.at_most and str(first).endswith("| TOO FAR OFF |")


def test_nan_is_too_far_off():
    assert "TOO FAR OFF" in str(gpu.Comparison("nothing", float("nan"), 1.0))


def test_tensors_import_no_other_array_library_before_it_is_asked_for():
    program = (
        "import sys, msgflow.tensor as mt; x = mt.tensor([1.0], requires_grad=True);"
        "mt.softmax(x * 2.0).sum().backward();"
        "heavy = {'cupy', 'torch', 'array_api_compat', 'array_api_strict', 'scipy'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_search_gives_the_best_of_all():
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((100, 8)), rng.standard_normal((3, 8))
    scores = mt.matmul(mt.tensor(queries), mt.tensor(vectors), transpose_b=True)
    assert mt.topk(scores, 5)[1].tolist() == np.argsort(-(queries @ vectors.T), axis=1)[:, :5].tolist()
