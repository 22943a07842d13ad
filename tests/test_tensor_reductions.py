"""Reductions: numpy's values and shapes along any axes; sums of integers in int64; ties, infinities and no numbers."""

import math
from itertools import product

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture

X = np.random.default_rng(0).standard_normal((2, 3, 4))
AXES = [None, 0, -1, (0, 2), (-1, 1), [1, 2], ()]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "any", "all"])
def test_reductions_are_numpys(backend, name):  # noqa: F811 # the fixture
    x = backend(X)
    for axis, keepdims in product(AXES, [False, True]):
        along = tuple(axis) if isinstance(axis, list) else axis
        expected = getattr(np, name)(X, axis=along, keepdims=keepdims)
        for given in [getattr(mt, name)(x, axis, keepdims), getattr(x, name)(axis, keepdims=keepdims)]:
            assert given.shape == expected.shape
            np.testing.assert_allclose(given.to_numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_of_the_largest_and_smallest_are_numpys(backend, name):  # noqa: F811 # the fixture
    for axis in [None, 0, -2]:
        given = getattr(mt, name)(backend(X), axis)
        assert given.dtype is mt.int64
        np.testing.assert_array_equal(given, getattr(np, name)(X, axis=axis))
        assert getattr(backend(X), name)(axis, keepdims=True).ndim == 3


def test_the_first_of_several_largest_is_found(backend):  # noqa: F811 # the fixture
    assert backend(np.array([1, 3, 3])).argmax().item() == 1 and backend(np.array([2, 0, 0])).argmin().item() == 1


def test_running_sums_are_numpys(backend):  # noqa: F811 # the fixture
    for axis in [0, 1, -1]:
        np.testing.assert_allclose(mt.cumsum(backend(X), axis), np.cumsum(X, axis), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "bool"])
def test_integers_are_summed_in_int64_and_averaged_in_float64(backend, dtype):  # noqa: F811 # the fixture
    x = np.array([[100, 100, 100], [1, 0, 1]]).astype(dtype)
    total = backend(x).sum()
    assert total.dtype is mt.int64 and total.item() == x.astype("int64").sum()
    assert backend(x).prod(1).tolist() == x.astype("int64").prod(1).tolist()
    assert backend(x).cumsum(1).tolist() == x.astype("int64").cumsum(1).tolist()
    assert backend(x).mean().dtype is mt.float64 and backend(x).mean().item() == x.mean()
    assert backend(x).var(1).dtype is mt.float64
    np.testing.assert_allclose(backend(x).std(0), x.std(0), rtol=1e-15)
    np.testing.assert_allclose(backend(x).logsumexp(1), np.log(np.exp(x.astype("float64")).sum(1)))


def test_the_count_is_corrected_as_asked(backend):  # noqa: F811 # the fixture
    np.testing.assert_allclose(mt.var(backend(X), 1, correction=1), X.var(1, ddof=1), rtol=1e-14)
    np.testing.assert_allclose(backend(X).std(correction=1), X.std(ddof=1), rtol=1e-14)


def test_a_count_that_is_corrected_to_nothing_gives_nan_and_no_error():
    x = mt.tensor([3.0], requires_grad=True)
    with np.errstate(all="ignore"):
        y = x.var(correction=1)
        y.backward()
    assert np.isnan(y.item()) and np.isnan(x.grad.item())


def test_those_that_are_largest_share_the_gradient(backend):  # noqa: F811 # the fixture
    x = backend(np.array([[1.0, 3.0, 3.0], [5.0, 5.0, 5.0]]), requires_grad=True)
    (x.max(1) * backend(np.array([4.0, 3.0]))).sum().backward()
    assert x.grad.tolist() == [[0, 2, 2], [1, 1, 1]]
    y = backend(np.array([np.nan, 1.0, np.nan]), requires_grad=True)
    y.min().backward()
    assert y.grad.tolist() == [0.5, 0, 0.5]


def test_the_gradient_of_a_product_is_right_beside_zeros(backend):  # noqa: F811 # the fixture
    x = backend(np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0]]), requires_grad=True)
    x.prod(1).sum().backward()
    assert x.grad.tolist() == [[6, 0, 0], [0, 0, 0]]


def test_equal_numbers_deviate_by_nothing_and_have_no_slope(backend):  # noqa: F811 # the fixture
    x = backend(np.ones((2, 3)), requires_grad=True)
    x.std(1).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_logsumexp_is_exact_for_large_numbers_and_quiet_where_all_are_masked(backend):  # noqa: F811 # the fixture
    x = backend(np.array([[1e4, 1e4], [-np.inf, 3.0], [-np.inf, -np.inf], [-1e4, -1e4]]), requires_grad=True)
    y = x.logsumexp(1)
    np.testing.assert_allclose(y, [1e4 + math.log(2), 3, -np.inf, -1e4 + math.log(2)])
    y.sum().backward()
    np.testing.assert_allclose(x.grad, [[0.5, 0.5], [0, 1], [0, 0], [0.5, 0.5]], rtol=1e-12)
    assert mt.logsumexp(backend(np.array([np.inf, 0.0]))).item() == np.inf
    assert mt.logsumexp(backend(np.zeros((2, 0))), 1).tolist() == [-np.inf, -np.inf]


def test_no_numbers_have_a_sum_and_a_product_but_no_largest(backend):  # noqa: F811 # the fixture
    x = backend(np.zeros((0, 3)))
    assert x.sum().item() == 0 and x.sum(0).tolist() == [0, 0, 0] and x.prod(0).tolist() == [1, 1, 1]
    assert x.sum(1).shape == (0,) and x.any().item() is False and x.all().item() is True
    assert x.max(1).shape == (0,) and x.mean(1).shape == (0,)
    for function in [mt.max, mt.min, mt.argmax]:
        with pytest.raises(ShapeError, match=r"\(0, 3\)"):
            function(x, 0)


def test_a_scalar_is_its_own_sum(backend):  # noqa: F811 # the fixture
    x = backend(np.array(3.0), requires_grad=True)
    y = x.sum() + x.max() * x.mean() + x.logsumexp() + x.prod()
    assert y.shape == () and y.item() == 3 + 9 + 3 + 3
    y.backward()
    assert x.grad.item() == 1 + 6 + 1 + 1


@pytest.mark.parametrize("function", [mt.sum, mt.mean, mt.max, mt.var, mt.any, mt.cumsum, mt.argmax, mt.logsumexp])
def test_an_axis_that_there_is_not_is_named_with_the_shape(backend, function):  # noqa: F811 # the fixture
    x = backend(np.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"\(2, 3\).*no axis 2; there are 2"):
        function(x, 2)
    with pytest.raises(DTypeError, match="a whole number, not 'x'"):
        function(x, "x")
    with pytest.raises(DTypeError, match="tensor"):
        function(np.ones(2), 0)


def test_parameters_are_reduced_as_the_tensors_that_they_hold():
    weight = nn.Parameter(mt.tensor([1.0, 2.0]))
    mt.sum(weight).backward()
    assert weight.grad.tolist() == [1, 1] and mt.argmax(weight).item() == 1 and mt.cumsum(weight, 0).tolist() == [1, 3]


def test_float32_sums_of_many_numbers_are_accurate():
    x = np.full(2**20, 0.1, "float32")
    assert mt.tensor(x).sum().item() == pytest.approx(2**20 * float(np.float32(0.1)), rel=1e-6)
    assert mt.tensor(x).mean().item() == pytest.approx(float(np.float32(0.1)), rel=1e-6)
