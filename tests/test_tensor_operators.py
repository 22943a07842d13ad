"""Operators and functions of numbers one at a time: numpy's values, broadcasting, and errors with all shapes."""

import math
import operator

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture

ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
X = np.array([[-2.5, 0.0, 3.0], [1.0, -0.5, 0.25]])
Y = np.array([2.0, -1.0, 0.5])


@pytest.mark.parametrize("function", [*ARITHMETIC, *COMPARISONS, operator.pow], ids=lambda given: given.__name__)
def test_operators_are_numpys_from_both_sides(backend, function):  # noqa: F811 # the fixture
    x, y = (X**2 + 1, Y**2) if function is operator.pow else (X, Y)
    np.testing.assert_array_equal(function(backend(x), backend(y)), function(x, y))
    np.testing.assert_array_equal(function(backend(x), y), function(x, y))
    np.testing.assert_array_equal(function(y, backend(x + 1)), function(y, x + 1))
    np.testing.assert_array_equal(function(backend(x), 2), function(x, 2))
    np.testing.assert_array_equal(function(1.5, backend(x + 5)), function(1.5, x + 5))


def test_comparisons_are_functions_too(backend):  # noqa: F811 # the fixture
    x, y = backend(X), backend(Y)
    for name in ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]:
        np.testing.assert_array_equal(getattr(mt, name)(x, y), getattr(np, name)(X, Y))


def test_what_numpy_has_no_loop_for_is_told_with_the_types():
    with pytest.raises(DTypeError, match="bitwise_invert of float32"):
        ~mt.ones(2)
    with pytest.raises(DTypeError, match="bitwise_and of float32 and float32"):
        mt.ones(2) & mt.ones(2)
    assert repr(mt.products.MATMUL) == "<operation matmul>"


def test_bits_and_truth_are_numpys_from_both_sides(backend):  # noqa: F811 # the fixture
    x, y = np.array([0b1100, 0b0011]), np.array([0b1010, 0b0110])
    for function in [operator.and_, operator.or_, operator.xor]:
        np.testing.assert_array_equal(function(backend(x), backend(y)), function(x, y))
        np.testing.assert_array_equal(function(backend(x), 6), function(x, 6))
        np.testing.assert_array_equal(function(6, backend(x)), function(6, x))
        np.testing.assert_array_equal(function(backend(x > 5), y > 5), function(x > 5, y > 5))
    np.testing.assert_array_equal(~backend(x), ~x)
    np.testing.assert_array_equal(~backend(x > 5), ~(x > 5))
    assert mt.logical_not(backend(X)).tolist() == (X == 0).tolist()
    assert mt.logical_and(backend(X), 1).tolist() == (X != 0).tolist()


def test_signs_are_changed_and_dropped(backend):  # noqa: F811 # the fixture
    x = backend(X)
    assert (-x).tolist() == (-X).tolist() and abs(x).tolist() == np.abs(X).tolist() and +x is x


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((0, 3), (1, 3)), ((4, 1, 2), (3, 1))]
)
def test_shapes_broadcast_as_in_numpy(backend, shapes):  # noqa: F811 # the fixture
    x, y = (np.arange(math.prod(shape), dtype="float64").reshape(shape) for shape in shapes)
    np.testing.assert_array_equal(backend(x) + backend(y), x + y)
    assert mt.where(backend(x) > 1, backend(x), backend(y)).shape == (x + y).shape


@pytest.mark.parametrize("function", [mt.add, mt.divide, mt.maximum, mt.power, mt.equal, mt.where, mt.logical_and])
def test_shapes_that_do_not_go_together_are_both_named(backend, function):  # noqa: F811 # the fixture
    x, y = backend(np.ones((2, 3))), backend(np.ones((2, 4)))
    operands = (x > 0, x, y) if function is mt.where else (x, y)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2, 4\)") as caught:
        function(*operands)
    assert (2, 4) in caught.value.shapes


def test_functions_take_parameters_that_hold_tensors_and_say_what_else_they_do_not_take():
    weight = nn.Parameter(mt.tensor([1.0, 4.0]))
    y = mt.sqrt(weight) * weight + mt.maximum(weight, 2) + (mt.ones(2) - weight)
    assert y.tolist() == [1 + 2 + 0, 8 + 4 - 3] and weight.value.requires_grad
    y.sum().backward()
    assert weight.grad.tolist() == [1.5 + 0 - 1, 3 + 1 - 1]
    with pytest.raises(DTypeError, match=r"exp takes tensors.*str"):
        mt.exp("text")
    with pytest.raises(DTypeError, match=r"add takes tensors and numbers, not list"):
        mt.add(mt.ones(2), [1, 2])
    with pytest.raises(DTypeError, match="Text"):
        mt.exp(nn.Parameter("a prompt"))
    with pytest.raises(DTypeError, match=r"add takes a tensor, not 1"):
        mt.add(1, 2)
    with pytest.raises(DTypeError, match="complex"):
        mt.ones(2) * 1j


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sign", "floor", "ceil", "round", "square"]
)
def test_functions_are_numpys(backend, name):  # noqa: F811 # the fixture
    x = np.array([0.5, 1.0, 1.5, 2.5, 7.25])
    np.testing.assert_allclose(getattr(mt, name)(backend(x)), getattr(np, name)(x), rtol=1e-15)
    np.testing.assert_allclose(getattr(backend(x), name)(), getattr(np, name)(x), rtol=1e-15)
    assert getattr(mt, name)(backend(np.zeros((0, 2)) + 1.0)).shape == (0, 2)


def test_integers_are_rounded_to_themselves_and_have_signs():
    x = mt.tensor([-3, 0, 5])
    assert [mt.floor(x).dtype, mt.round(x).dtype, mt.sign(x).dtype] == [mt.int64] * 3
    assert mt.round(mt.tensor([0.5, 1.5, -0.5, 2.5])).tolist() == [0, 2, 0, 2]


def test_reciprocal_roots_and_tests_of_numbers(backend):  # noqa: F811 # the fixture
    x = backend(np.array([4.0, np.nan, np.inf]))
    assert mt.rsqrt(x).tolist()[0] == 0.5
    assert mt.isnan(x).tolist() == [False, True, False] and mt.isfinite(x).tolist() == [True, False, False]


def test_the_larger_and_the_smaller_are_nan_where_one_is(backend):  # noqa: F811 # the fixture
    x, y = backend(np.array([1.0, np.nan, 3.0])), backend(np.array([2.0, 1.0, np.nan]))
    np.testing.assert_array_equal(mt.maximum(x, y), [2, np.nan, np.nan])
    np.testing.assert_array_equal(x.minimum(y), [1, np.nan, np.nan])
    np.testing.assert_array_equal(mt.relu(x - 2), [0, np.nan, 1])
    np.testing.assert_array_equal(mt.clip(x, 0, 2), [1, np.nan, 2])


def test_two_that_are_equal_share_the_gradient(backend):  # noqa: F811 # the fixture
    x = backend(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    y = backend(np.array([1.0, 0.0, 5.0]), requires_grad=True)
    (mt.maximum(x, y) + 10 * mt.minimum(x, y)).sum().backward()
    assert x.grad.tolist() == [5.5, 1, 10] and y.grad.tolist() == [5.5, 10, 1]


def test_clip_takes_either_bound_and_numbers_alone(backend):  # noqa: F811 # the fixture
    x = backend(np.array([-2, 0, 3]))
    assert x.clip(-1, 2).tolist() == [-1, 0, 2] and x.clip(max=1).tolist() == [-2, 0, 1]
    assert x.clip(min=0.5).dtype is mt.float64 and x.clip(min=0.5).tolist() == [0.5, 0.5, 3]
    assert mt.clip(x).tolist() == x.tolist()
    with pytest.raises(DTypeError, match=r"mt\.maximum"):
        mt.clip(x, mt.tensor(0))


def test_masked_fill_puts_a_number_where_the_mask_is_true(backend):  # noqa: F811 # the fixture
    x = backend(X.astype("float32"))
    filled = x.masked_fill(x < 0, -math.inf)
    assert filled.dtype is mt.float32 and filled.tolist()[0] == [-math.inf, 0, 3]


def test_an_input_that_is_used_often_has_the_sum_of_its_gradients(backend):  # noqa: F811 # the fixture
    x = backend(np.array([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    y = x[0] * x[:, 1] + x[0]
    ((y * y).sum() + x.sum()).backward()
    # y = [1 * 2 + 1, 2 * 4 + 2] = [3, 10]; dy/dx[0] = x[:, 1] + 1, dy/dx[:, 1] = x[0]
    assert x.grad.tolist() == [[1 + 6 * 3, 1 + 20 * 5 + 6 * 1], [1, 1 + 20 * 2]]


def test_a_gradient_of_what_was_broadcast_or_promoted_has_its_shape_and_type(backend):  # noqa: F811 # the fixture
    x = backend(np.ones((2, 1), "float32"), requires_grad=True)
    (x * backend(np.arange(3.0)) + backend(np.arange(6).reshape(2, 3))).sum().backward()
    assert x.grad.shape == (2, 1) and x.grad.dtype is mt.float32 and x.grad.tolist() == [[3], [3]]


def test_gradients_at_the_ends_of_powers_are_numbers():
    x, y = mt.tensor([0.0, 0.0, 2.0], requires_grad=True), mt.tensor([0.0, 2.0, 0.0], requires_grad=True)
    (x**y).sum().backward()
    assert x.grad.tolist() == [0, 0, 0] and y.grad.tolist() == pytest.approx([0, 0, math.log(2)])
    z = mt.tensor([0.0, 1.0], requires_grad=True)
    (z**0 + z**2 + z**1 + 0**z).sum().backward()
    assert z.grad.tolist() == [1, 3]
