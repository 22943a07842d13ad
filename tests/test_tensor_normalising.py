"""softmax, normalisations and cosines, against their formulas in float64."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import tracemalloc

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor.rules.normalising import LOG_SOFTMAX, NORMALISED, RMS_NORMALISED, SOFTMAX
from tests.tensor_backends import backend, of_numpy  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 3, 4))
WEIGHT, BIAS = RNG.standard_normal((2, 4))


def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


def length(x, axis=-1):
    return np.sqrt((x**2).sum(axis, keepdims=True))


def layernorm(x, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)


FORMULAS = {
    "softmax": (mt.softmax, softmax(X)),
    "softmax of another axis": (lambda x: mt.softmax(x, 0), softmax(X, 0)),
    "log_softmax": (mt.log_softmax, np.log(softmax(X))),
    "log_softmax of another axis": (lambda x: mt.log_softmax(x, -2), np.log(softmax(X, 1))),
    "layernorm": (lambda x: mt.layernorm(x, eps=0.1), layernorm(X, 0.1)),
    "rmsnorm": (lambda x: mt.rmsnorm(x, eps=0.1), X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1)),
    "normalize": (lambda x: mt.normalize(x, 1), X / length(X, 1)),
    "normalize the short": (lambda x: mt.normalize(x, 1, eps=9.0), X / 9),
    "cosine": (lambda x: mt.cosine_similarity(x, x * x), (X**3 / length(X) / length(X**2)).sum(-1)),
    "cosine of one with many": (
        lambda x: mt.cosine_similarity(x, x[0, 0], axis=2),
        (X * X[0, 0] / length(X) / length(X[0, 0])).sum(-1),
    ),
    "cosine along another axis": (
        lambda x: mt.cosine_similarity(x[:, :1], x, 0),
        (X[:, :1] * X / length(X[:, :1], 0) / length(X, 0)).sum(0),
    ),
}


@pytest.mark.parametrize(("ours", "expected"), FORMULAS.values(), ids=FORMULAS)
def test_results_are_the_formulas_and_gradients_their_slopes(backend, ours, expected):
    np.testing.assert_allclose(ours(backend(X)).to_numpy(), expected, rtol=1e-12)
    check_slopes(lambda x: ours(x.reshape(2, 1, 4) ** 2), [X[:, 0]], backend, twice=backend is of_numpy)


def test_weights_and_biases_are_those_of_the_last_axis(backend):
    x, weight, bias = map(backend, (X, WEIGHT, BIAS))
    np.testing.assert_allclose(mt.layernorm(x, weight, bias).to_numpy(), layernorm(X) * WEIGHT + BIAS, rtol=1e-9)
    np.testing.assert_allclose(mt.layernorm(x, bias=bias).to_numpy(), layernorm(X) + BIAS, rtol=1e-9)
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 1e-6) * WEIGHT
    np.testing.assert_allclose(mt.rmsnorm(x, weight).to_numpy(), expected, rtol=1e-12)
    check_slopes(mt.layernorm, [X[0, :2], WEIGHT, BIAS], backend, twice=backend is of_numpy)
    check_slopes(mt.rmsnorm, [X[0, :2], WEIGHT], backend, twice=backend is of_numpy)


def test_weights_may_be_parameters_or_arrays():
    x, weight = mt.tensor(X), nn.Parameter(mt.tensor(WEIGHT))
    np.testing.assert_allclose(mt.layernorm(x, weight, BIAS).to_numpy(), layernorm(X) * WEIGHT + BIAS, rtol=1e-9)
    mt.rmsnorm(x, weight).sum().backward()
    assert weight.grad.shape == (4,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_overflow_nowhere(backend, dtype):
    """Warnings are errors in this suite."""
    x = backend(np.array([[1e4, -1e4, 0, 1e4], [-1e4, -1e4, -1e4, -1e4]], dtype), requires_grad=True)
    assert mt.softmax(x).tolist() == [[0.5, 0, 0, 0.5], [0.25] * 4]
    assert mt.log_softmax(x)[0, 1:3].tolist() == pytest.approx([-20000 - np.log(2), -1e4 - np.log(2)])
    assert mt.softmax(backend(np.array([3e38, -3e38], dtype))).tolist() == [1, 0]
    results = [mt.softmax(x), mt.log_softmax(x), mt.layernorm(x), mt.rmsnorm(x), mt.normalize(x)]
    mt.stack(results).sum().backward()
    assert np.isfinite(x.grad.to_numpy()).all() and np.isfinite(mt.stack(results).to_numpy()).all()


def test_minus_infinity_has_no_weight_and_where_all_are_there_is_none(backend):
    x = backend(np.array([[0, -np.inf, 0], [-np.inf] * 3]), requires_grad=True)
    weights, logs = mt.softmax(x), mt.log_softmax(x)
    assert weights.tolist() == [[0.5, 0, 0.5], [0, 0, 0]] and logs.exp().tolist() == [[0.5, 0, 0.5], [0, 0, 0]]
    (weights * backend(np.arange(6.0).reshape(2, 3))).sum().backward()
    assert x.grad.tolist() == [[-0.5, 0, 0.5], [0, 0, 0]]


def test_numbers_that_are_all_equal_have_no_direction(backend):
    x = backend(np.full((2, 5), 3.0), requires_grad=True)
    out = mt.layernorm(x)
    out[0, 1].backward()
    assert out.tolist() == [[0] * 5] * 2 and np.isfinite(x.grad.to_numpy()).all()


def test_vectors_of_length_0_stay_0_with_gradients_that_are_finite(backend):
    x = backend(np.array([[0.0, 0], [3, 4]]), requires_grad=True)
    y = backend(np.array([[1.0, 2], [4, 3]]), requires_grad=True)
    unit, cosine = mt.normalize(x), mt.cosine_similarity(x, y)
    assert unit.tolist() == [[0, 0], pytest.approx([0.6, 0.8])] and cosine.tolist() == pytest.approx([0, 0.96])
    (unit.sum() + cosine.sum() + mt.rmsnorm(x).sum()).backward()
    assert np.isfinite(x.grad.to_numpy()).all() and y.grad[0].tolist() == [0, 0]


def test_axes_without_numbers_give_none(backend):
    nothing = backend(np.zeros((3, 0)), requires_grad=True)
    for out in (mt.softmax(nothing), mt.log_softmax(nothing), mt.layernorm(nothing), mt.rmsnorm(nothing)):
        assert out.shape == (3, 0)
        out.sum().backward()
    assert nothing.grad.shape == (3, 0)
    assert mt.softmax(nothing, 0).shape == (3, 0) and mt.normalize(nothing).shape == (3, 0)
    assert mt.cosine_similarity(nothing, nothing).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(mt.float16, 2**-10), (mt.bfloat16, 2**-7)], ids=["fp16", "bf16"])
@pytest.mark.parametrize("ours", [mt.softmax, mt.log_softmax, mt.layernorm, mt.rmsnorm, mt.normalize])
def test_16_bit_floats_are_computed_in_float32_and_rounded_once(ours, dtype, tolerance):
    """Results are off by a unit of the last of 11 or 8 bits at most, whatever is summed on the way."""
    x = mt.tensor(RNG.standard_normal((4, 300)) * 30).to(dtype=dtype)
    out, exact = ours(x), ours(x.to(dtype=mt.float64)).to_numpy()
    assert out.dtype is dtype
    np.testing.assert_allclose(out.to(mt.float64).to_numpy(), exact, rtol=tolerance, atol=1e-7)


def test_cosines_of_float16_do_not_overflow_on_the_way():
    x = mt.full((1, 768), 300.0, mt.float16)
    assert mt.cosine_similarity(x, x * -1).tolist() == [-1]
    assert mt.normalize(x)[0, 0].item() == pytest.approx(768**-0.5, rel=2**-11)
    both = mt.cosine_similarity(x, x.to(mt.bfloat16))
    assert both.dtype is mt.float32 and both.item() == pytest.approx(1, abs=1e-5)


def test_integers_become_float64_as_in_functions_of_numpy(backend):
    x = backend(np.array([[1, 2], [3, 5]]))
    for out in (mt.softmax(x), mt.log_softmax(x), mt.layernorm(x), mt.rmsnorm(x), mt.normalize(x)):
        assert out.dtype is mt.float64
    assert mt.softmax(x)[0].tolist() == pytest.approx([0.26894142, 0.73105858])
    assert mt.cosine_similarity(x, x).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, NORMALISED, RMS_NORMALISED], ids=str)
def test_results_are_written_where_a_runtime_wants_them_even_over_the_input(operation):
    settings = {"axis": 1} if "softmax" in operation.name else {"eps": 1e-5}
    x = np.random.default_rng(1).standard_normal((1000, 300))
    expected, out = operation.compute(np, x.copy(), **settings), np.empty_like(x)
    tracemalloc.start()
    try:
        assert operation.compute(np, x, out=out, **settings) is out
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(out, expected)
    # One array of exponentials for the sums of log_softmax, and nothing of the size of x for the others.
    assert peak < (1.1 if operation is LOG_SOFTMAX else 0.1) * x.nbytes
    np.testing.assert_array_equal(operation.compute(np, x, out=x, **settings), expected)


def test_what_does_not_fit_is_named(backend):
    x = backend(X)
    one = x[0, 0, 0]
    for wrong, message in (
        (lambda: mt.layernorm(x, backend(np.ones(3))), r"layernorm.*\(2, 3, 4\) have the shape \(4,\), not \(3,\)"),
        (lambda: mt.layernorm(x, None, backend(np.ones((3, 4)))), r"have the shape \(4,\), not \(3, 4\)"),
        (lambda: mt.rmsnorm(x, backend(np.ones(()))), r"rmsnorm.*have the shape \(4,\), not \(\)"),
        (lambda: mt.layernorm(one), "there is no last axis"),
        (lambda: mt.softmax(x, 3), "there is no axis 3; there are 3"),
        (lambda: mt.log_softmax(one), "there is no axis -1; there are 0"),
        (lambda: mt.normalize(x, -4), "there is no axis -4; there are 3"),
        (lambda: mt.cosine_similarity(x, x[..., :2]), r"\(2, 3, 4\) and \(2, 3, 2\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            wrong()
    for wrong in (lambda: mt.softmax([1.0]), lambda: mt.layernorm(None), lambda: mt.cosine_similarity(x, "y")):
        with pytest.raises(DTypeError, match="takes tensors and numbers, not"):
            wrong()
