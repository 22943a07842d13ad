"""Matrix products: of matrices, vectors and batches; transposed, with relu; 16-bit floats in float32."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture

SHAPES = [
    *(((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4))),
    *(((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4)), ((0, 3), (3, 4)), ((2, 0), (0, 4))),
    *(((0, 2, 3), (3, 4)), ((5, 2, 0), (0, 4)), ((5, 0, 3), (3, 4))),
]


def numbers(shape, dtype="float64"):
    return np.random.default_rng(len(shape)).integers(-4, 5, shape).astype(dtype)


def test_products_are_numpys(backend):  # noqa: F811 # the fixture
    for shapes in SHAPES:
        x, y = (numbers(shape) for shape in shapes)
        for given in [backend(x) @ backend(y), mt.matmul(backend(x), y), x @ backend(y), backend(x).matmul(backend(y))]:
            assert given.shape == (x @ y).shape
            np.testing.assert_array_equal(given, x @ y)


def test_gradients_of_products_have_the_shapes_of_the_operands(backend):  # noqa: F811 # the fixture
    for shapes in SHAPES:
        x, y = (backend(numbers(shape), requires_grad=True) for shape in shapes)
        (x @ y).sum().backward()
        assert x.grad.shape == x.shape and y.grad.shape == y.shape


def test_operands_are_transposed_and_the_product_is_cut_at_zero(backend):  # noqa: F811 # the fixture
    x, y = numbers((2, 3, 4)), numbers((2, 5, 3))
    given = mt.matmul(backend(x), backend(y), transpose_a=True, transpose_b=True, is_relu=True)
    np.testing.assert_array_equal(given, np.maximum(x.swapaxes(1, 2) @ y.swapaxes(1, 2), 0))


def test_views_and_rows_that_lie_apart_are_multiplied_as_they_are(backend):  # noqa: F811 # the fixture
    x, w = numbers((4, 3, 2)), numbers((4, 5))
    np.testing.assert_array_equal(backend(x).permute(1, 2, 0) @ backend(w), x.transpose(1, 2, 0) @ w)
    np.testing.assert_array_equal(backend(x)[::2, 1:] @ backend(w[:2]), x[::2, 1:] @ w[:2])
    np.testing.assert_array_equal(backend(x).mT @ backend(w)[:3].T[:, :3].mT, x.swapaxes(1, 2) @ w[:3])


@pytest.mark.parametrize("dtype", ["int64", "int8", "float32"])
def test_products_keep_their_type(backend, dtype):  # noqa: F811 # the fixture
    x, y = numbers((2, 3), dtype), numbers((3, 2), dtype)
    given = backend(x) @ backend(y)
    assert given.to_numpy().dtype == dtype
    np.testing.assert_array_equal(given, x @ y)


def test_types_of_two_factors_meet():
    assert (mt.ones((2, 2), "int8") @ mt.ones((2, 2), "uint8")).dtype is mt.int32
    assert (mt.ones((2, 2), "float16") @ mt.ones((2, 2), "float32")).dtype is mt.float32
    assert (mt.ones((2, 2)) @ mt.ones((2, 2), "int64")).dtype is mt.float64


def test_a_product_of_rows_needs_no_more_memory_for_its_gradient_than_its_operands():
    """(batch, k, n) numbers, a product for every row of the batch, would be sixteen million."""
    x = mt.tensor(np.ones((64, 8, 512), "float32"), requires_grad=True)
    w = mt.tensor(np.ones((512, 512), "float32"), requires_grad=True)
    y = x @ w
    made = []

    class Watcher:
        def record(self, operation, inputs, settings, output):
            made.append(output.size)

        def asked(self, tensor):
            raise AssertionError(f"somebody looks at {tensor.shape}")

    token = mt.operations.mode.set(Watcher())
    try:
        for gradient in mt.products.MATMUL.gradients:
            gradient(mt.ones((64, 8, 512)), y, x, w)
    finally:
        mt.operations.mode.reset(token)
    assert max(made) == 512 * 512


@pytest.mark.parametrize(
    "shapes", [((2, 3), (4, 5)), ((3,), (4,)), ((2, 2, 3), (3, 3, 2)), ((5, 2, 3), (2, 3)), ((), (2,))]
)
def test_shapes_that_cannot_be_multiplied_are_both_named(backend, shapes):  # noqa: F811 # the fixture
    x, y = (backend(np.ones(shape)) for shape in shapes)
    with pytest.raises(ShapeError) as caught:
        x @ y
    assert caught.value.shapes == list(shapes) and all(str(shape) in str(caught.value) for shape in shapes)


def test_a_number_is_no_factor_and_a_vector_cannot_be_transposed():
    with pytest.raises(ShapeError, match=r"matmul.*\(2, 2\)"):
        mt.ones((2, 2)) @ 2.0
    with pytest.raises(ShapeError, match=r"\(2,\)"):
        mt.matmul(mt.ones(2), mt.ones(2), transpose_a=True)
    with pytest.raises(DTypeError, match="matmul takes"):
        mt.matmul("x", mt.ones((2, 2)))


def test_parameters_are_factors():
    weight = nn.Parameter(mt.ones((2, 3)))
    mt.matmul(mt.ones((4, 2)), weight).sum().backward()
    assert weight.grad.tolist() == [[4, 4, 4]] * 2
    assert mt.matmul(weight, mt.ones((2, 1)), transpose_a=True).shape == (3, 1)
