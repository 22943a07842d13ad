"""Gradients of arithmetic, functions, activations, reductions and products, and the gradients of these."""

import numpy as np
import pytest

import msgflow.tensor as mt
from tests.tensor_backends import backend  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

X = np.array([[-1.7, 0.4, 1.3], [0.9, -0.6, 2.3]])
Y = np.array([1.4, -0.8, 0.7])  # broadcasts against X
POSITIVE = np.array([[0.3, 1.9], [0.8, 1.2]])
SMALL = np.array([[-0.6, 0.2], [0.5, 0.8]])

ELEMENTWISE = {
    "add": (lambda x, y: x + y, X, Y),
    "subtract": (lambda x, y: x - y, X, Y),
    "multiply": (lambda x, y: x * y, X, Y),
    "divide": (lambda x, y: x / y, X, Y),
    "remainder": (lambda x, y: x % y, X, Y),
    "power": (lambda x, y: x**y, POSITIVE, SMALL),
    "power of a number": (lambda x: 1.7**x, SMALL),
    "a number to the left": (lambda x: 2 - 3 / x, POSITIVE),
    "square": (lambda x: x**2 + mt.square(x) * x**3, X),
    "to the power 0": (lambda x: x**0 + x, X),
    "maximum": (mt.maximum, X, Y),
    "minimum": (lambda x, y: mt.minimum(x, y) * mt.minimum(x, 0.5), X, Y),
    "clip": (lambda x: mt.clip(x, -1, 1.0) * mt.clip(x, min=0.5) + mt.clip(x), X),
    "where": (lambda x, y: mt.where(x > y, x * x, y), X, Y),
    "negative, abs": (lambda x: -x * abs(x), X),
    "steps": (lambda x: mt.sign(x) + mt.floor(x) + mt.ceil(x) + mt.round(x) + x // 0.7 + 2 // x, X + 0.05),
    "exp, expm1": (lambda x: mt.exp(x) + mt.expm1(x), SMALL),
    "log, log1p": (lambda x: mt.log(x) + mt.log1p(x), POSITIVE),
    "sqrt, rsqrt": (lambda x: mt.sqrt(x) + mt.rsqrt(x), POSITIVE),
    "sin, cos": (lambda x: mt.sin(x) + mt.cos(2 * x), X),
    "tanh, sigmoid": (lambda x: mt.tanh(x) + mt.sigmoid(x), X),
    "erf": (mt.erf, SMALL),
    "relu": (mt.relu, X),
    "leaky_relu": (mt.leaky_relu, X),
    "gelu": (mt.gelu, X),
    "gelu by tanh": (lambda x: mt.gelu(x, "tanh"), X),
    "silu": (mt.silu, X),
    "softplus": (mt.softplus, X),
    "to and from float32": (lambda x: x.to(mt.float64) * x, X),
}
REDUCTIONS = {
    "sum": (lambda x: x.sum(), X),
    "sum along an axis": (lambda x: x.sum(-1) * x.sum(1, keepdims=True).sum((0, 1)), X),
    "mean": (lambda x: x.mean(0) * x.mean(), X),
    "max": (lambda x: x.max() + x.max(0) * 2, X),
    "min": (lambda x: x.min(1, keepdims=True) * x, X),
    "prod": (lambda x: x.prod() + x.prod(0).sum(), X),
    "prod with a zero": (lambda x: x.prod(1), np.array([[0.0, 1.5, -2.0], [0.0, 0.0, 3.0]])),
    "prod along outer axes": (lambda x: x.prod((0, 2)), np.arange(1.0, 9).reshape(2, 2, 2) / 3),
    "var": (lambda x: x.var() + x.var(1, correction=1), X),
    "std": (lambda x: x.std(0) + x.std(keepdims=True, correction=1), X),
    "logsumexp": (lambda x: x.logsumexp() * x.logsumexp(0), X),
    "cumsum": (lambda x: x.cumsum(1) * x.cumsum(0), X),
}
A, B = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(0.3, 2, 6).reshape(3, 2)
PRODUCTS = {
    "matrices": (lambda x, y: x @ y, A, B),
    "vectors": (lambda x, y: x @ y, Y, X[0]),
    "a vector and a matrix": (lambda x, y: x @ y, Y, B),
    "a matrix and a vector": (lambda x, y: x @ y, A, Y),
    "a batch and a matrix": (lambda x, y: x @ y, np.stack([A, -A]), B),
    "a matrix and a batch": (lambda x, y: x @ y, A, np.stack([B, B * B])),
    "a batch and a vector": (lambda x, y: x @ y, np.stack([A, -A]), Y),
    "a vector and a batch": (lambda x, y: x @ y, Y, np.stack([B, B * B])),
    "batches that broadcast": (lambda x, y: x @ y, A.reshape(2, 1, 1, 3), B.reshape(1, 3, 2)),
    "transposed": (lambda x, y: mt.matmul(x, y, transpose_a=True, transpose_b=True), A, B),
    "relu": (lambda x, y: mt.matmul(x, y, is_relu=True), A, B),
    "with itself": (lambda x: mt.matmul(x, x, transpose_b=True), A),
}


@pytest.mark.parametrize("case", [*ELEMENTWISE, *REDUCTIONS, *PRODUCTS])
def test_gradients_and_their_gradients_are_slopes(backend, case):  # noqa: F811 # the fixture
    function, *arrays = (ELEMENTWISE | REDUCTIONS | PRODUCTS)[case]
    check_slopes(function, arrays, backend)
