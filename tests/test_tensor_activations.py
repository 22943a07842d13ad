"""Activation functions: exact, stable for numbers of any size, and quiet."""

import math

import numpy as np
import pytest

import msgflow.tensor as mt
from tests.tensor_backends import backend  # noqa: F401 # a fixture

NUMBERS = [-30.0, -3.0, -0.46875, -0.1, -1e-9, 0.0, 1e-300, 0.2, 0.4688, 0.9, 2.0, 3.99, 5.5, 12.0]
FUNCTIONS = [
    *(mt.relu, mt.leaky_relu, mt.sigmoid, mt.tanh, mt.silu, mt.softplus, mt.gelu, mt.erf),
    *(lambda x: mt.gelu(x, "tanh"), mt.logsumexp, mt.sum, mt.mean, mt.max),
]


def phi(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


@pytest.mark.parametrize(
    ("function", "of_one"),
    [
        (mt.erf, math.erf),
        (mt.relu, lambda x: max(x, 0.0)),
        (mt.leaky_relu, lambda x: x if x > 0 else 0.01 * x),
        (lambda x: mt.leaky_relu(x, 3), lambda x: x if x > 0 else 3 * x),
        (mt.sigmoid, lambda x: 1 / (1 + math.exp(-x))),
        (mt.silu, lambda x: x / (1 + math.exp(-x))),
        (mt.softplus, lambda x: math.log1p(math.exp(x))),
        (mt.gelu, lambda x: x * phi(x)),
        (
            lambda x: mt.gelu(x, "tanh"),
            lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
    ],
)
def test_activations_are_their_formulas(backend, function, of_one):  # noqa: F811 # the fixture
    expected = [of_one(x) for x in NUMBERS]
    np.testing.assert_allclose(function(backend(np.array(NUMBERS))), expected, rtol=2e-15, atol=1e-15)
    given = function(backend(np.array(NUMBERS, "float32")))
    assert given.dtype is mt.float32
    np.testing.assert_allclose(given, expected, rtol=1e-6, atol=3e-7)


@pytest.mark.parametrize(("dtype", "most"), [("float64", 4), ("float32", 4)])
def test_erf_is_within_four_units_in_the_last_place(dtype, most):
    numbers = np.concatenate([np.linspace(-6.5, 6.5, 70001), np.logspace(-300 if dtype == "float64" else -30, 0, 500)])
    numbers = numbers.astype(dtype)  # more of them than are computed at a time
    expected = np.array([math.erf(number) for number in numbers.tolist()])
    given = mt.erf(mt.tensor(numbers)).to_numpy().astype("float64")
    units = np.abs(given - expected) / np.spacing(np.abs(expected).astype(dtype)).astype("float64")
    assert units.max() <= most and np.abs(given).max() <= 1


def test_erf_is_odd_and_has_its_limits(backend):  # noqa: F811 # the fixture
    for dtype in ["float64", "float32"]:
        ends = mt.erf(backend(np.array([np.inf, -np.inf, np.nan, -0.0], dtype))).to_numpy()
        assert ends[:2].tolist() == [1, -1]  # exactly, or gelu(-1e9) would not be 0
        assert np.isnan(ends[2]) and np.signbit(ends[3])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_numbers_of_any_size_give_no_warning_and_no_nan(backend, function):  # noqa: F811 # the fixture
    for dtype in ["float32", "float64"]:
        largest = float(np.finfo(dtype).max) / 8
        x = backend(np.array([-largest, -1e4, -90.0, 0.0, 90.0, 1e4, largest], dtype), requires_grad=True)
        y = function(x)
        assert np.isfinite(y.to_numpy()).all()
        (first,) = mt.grad(y.sum(), [x], create_graph=True)
        assert np.isfinite(first.to_numpy()).all()
        if first.requires_grad:
            assert np.isfinite(mt.grad(first.sum(), [x], allow_unused=True)[0].to_numpy()).all()


def test_sigmoid_of_minus_infinity_is_zero(backend):  # noqa: F811 # the fixture
    x = backend(np.array([-np.inf, np.inf]))
    assert mt.sigmoid(x).tolist() == [0, 1] and mt.softplus(x).tolist() == [0, np.inf]
    assert mt.relu(x).tolist() == [0, np.inf] and mt.tanh(x).tolist() == [-1, 1]


def test_relu_lets_nothing_through_at_zero_and_below(backend):  # noqa: F811 # the fixture
    x = backend(np.array([-1.0, 0.0, 2.0]), requires_grad=True)
    mt.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1]


def test_gelu_knows_two_ways():
    with pytest.raises(ValueError, match=r"'none' or 'tanh', not 'sigmoid'"):
        mt.gelu(mt.ones(1), "sigmoid")
