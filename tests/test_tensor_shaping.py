"""Shapes, orders of axes, and tensors taken apart and put together, against numpy."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

X = np.arange(24.0).reshape(2, 3, 4) ** 1.5
Y = X[:, :2] - 7

SAME = {
    "reshape": (lambda x: mt.reshape(x, 4, -1), X.reshape(4, 6)),
    "reshape to a list": (lambda x: x.reshape([6, 4]), X.reshape(6, 4)),
    "flatten": (lambda x: mt.flatten(x), X.reshape(-1)),
    "flatten some": (lambda x: mt.flatten(x, 1, -1), X.reshape(2, 12)),
    "flatten no axes": (lambda x: mt.flatten(x[0, 0, 0]), X[0, 0, 0].reshape(1)),
    "unsqueeze": (lambda x: mt.unsqueeze(x, -1), X[..., None]),
    "unsqueeze in front": (lambda x: x.unsqueeze(0), X[None]),
    "squeeze": (lambda x: mt.squeeze(x[:1, :, :1]), X[0, :, 0]),
    "squeeze one": (lambda x: mt.squeeze(x[:1, :, :1], -1), X[:1, :, 0]),
    "squeeze some": (lambda x: mt.squeeze(x[:1, :, :1], (0, 2)), X[0, :, 0]),
    "reverse": (lambda x: mt.transpose(x), X.T),
    "transpose as numpy": (lambda x: mt.transpose(x, (1, 2, 0)), X.transpose(1, 2, 0)),
    "transpose as PyTorch": (lambda x: mt.transpose(x, -1, 0), X.swapaxes(-1, 0)),
    "permute": (lambda x: mt.permute(x, 2, 0, -2), X.transpose(2, 0, 1)),
    "permute a tuple": (lambda x: x.permute((2, 0, 1)), X.transpose(2, 0, 1)),
    "broadcast": (lambda x: mt.broadcast_to(x[:, :1], (5, 2, 3, 4)), np.broadcast_to(X[:, :1], (5, 2, 3, 4))),
    "concat": (lambda x: mt.concat([x, x[:, :2] - 7, x], axis=1), np.concatenate([X, Y, X], 1)),
    "concat at the end": (lambda x: mt.concat((x, x), -1), np.concatenate([X, X], -1)),
    "stack": (lambda x: mt.stack([x, x * 2], -1), np.stack([X, X * 2], -1)),
    "split by size": (lambda x: mt.concat(mt.split(x, 3, -1)[::-1], -1), X[..., [3, 0, 1, 2]]),
    "split by sizes": (lambda x: mt.split(x, [0, 1, 2], 1)[2], X[:, 1:]),
    "chunk": (lambda x: mt.chunk(x, 3, -1)[1], X[..., 2:]),
    "pad": (lambda x: mt.pad(x, [(1, 0), (0, 2)], 1.5), np.pad(X, [(0, 0), (1, 0), (0, 2)], constant_values=1.5)),
    "tril": (lambda x: mt.tril(x, -1), np.tril(X, -1)),
    "triu": (lambda x: mt.triu(x, 1), np.triu(X, 1)),
}


@pytest.mark.parametrize(("ours", "expected"), SAME.values(), ids=SAME)
def test_numbers_are_where_numpy_has_them_and_gradients_go_back_there(backend, ours, expected):
    np.testing.assert_array_equal(ours(backend(X)).to_numpy(), expected)
    check_slopes(ours, [X / 50], backend, twice=False)


def test_gradients_go_to_each_of_several_tensors_and_have_gradients(backend):
    x, y = X[0, :2, :2] / 9, Y[0, :2, :2]
    check_slopes(lambda x, y: mt.concat([x, y * 3, x.T], 1) ** 2, [x, y], backend)
    check_slopes(lambda x, y: mt.stack([x, mt.tril(y) * mt.pad(x[:1], [(1, 0), (0, 0)], 2.0)], 1) ** 2, [x, y], backend)


def test_parts_count_as_pytorchs():
    x = mt.arange(7)
    assert [part.tolist() for part in mt.split(x, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.tolist() for part in mt.chunk(x, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.tolist() for part in mt.chunk(mt.arange(6), 4)] == [[0, 1], [2, 3], [4, 5]]
    assert [part.tolist() for part in mt.chunk(mt.arange(2), 4)] == [[0], [1]]
    empty = mt.zeros((0, 2))
    assert [part.shape for part in mt.split(empty, 3)] == [part.shape for part in mt.chunk(empty, 3)] == [(0, 2)]
    assert mt.split(empty, []) == ()


def test_types_are_promoted_as_numpy_does_and_bfloat16_counts_as_a_float16(backend):
    def joined(*dtypes):
        return mt.concat([backend(np.ones(2)).to(dtype=dtype) for dtype in dtypes]).dtype

    assert joined(mt.int32, mt.float32) is mt.float64
    assert joined(mt.uint8, mt.int8, mt.int32) is mt.int32
    assert joined(mt.bool, mt.float32) is mt.float32
    assert joined(mt.bfloat16, mt.bfloat16) is joined(mt.bfloat16, mt.int8) is mt.bfloat16
    assert joined(mt.bfloat16, mt.float32) is mt.float32
    mixed = mt.stack([backend(np.array([1.5, -2])).to(dtype=mt.bfloat16), backend(np.array([300, 4]))])
    assert mixed.dtype is mt.float64 and mixed.tolist() == [[1.5, -2], [300, 4]]


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16], ids=str)
def test_16_bit_floats_are_moved_bit_by_bit(dtype):
    bits = np.arange(2**16, dtype="uint16")
    x = mt.Tensor.of(bits.view(dtype.storage))
    moved = mt.concat([part.transpose().flatten() for part in mt.stack([x, x]).reshape(2, 256, 256).split(1)])
    expected = np.tile(bits.reshape(256, 256).T.reshape(-1), 2)
    assert moved.dtype is dtype and np.array_equal(moved.array.view("uint16"), expected)
    padded = mt.pad(x[:3], [(1, 1)], -2.0)
    assert padded.dtype is dtype and padded[0].item() == padded[-1].item() == -2


def test_views_share_their_memory():
    x = mt.ones((1000, 1000))
    views = [x.reshape(-1), x.T, x.unsqueeze(0), mt.broadcast_to(x, (9, 1000, 1000)), mt.split(x, 10)[3], x[5, 2:]]
    assert all(np.shares_memory(x.array, view.array) for view in views)


def test_no_axes_and_no_numbers(backend):
    nothing = backend(np.zeros((0, 3)))
    assert mt.concat([nothing, nothing]).shape == (0, 3) and mt.flatten(nothing).shape == (0,)
    assert mt.pad(nothing, [(1, 1), (0, 0)]).tolist() == [[0, 0, 0]] * 2
    one = backend(np.array(2.0))
    assert one.reshape(1, 1).tolist() == [[2]] and mt.transpose(one).item() == 2 and one.reshape(()).shape == ()
    assert mt.stack([one, one]).tolist() == [2, 2] and mt.pad(one, []).item() == 2


SHAPE_ERRORS = {
    "reshape": (lambda x: x.reshape(5, 5), r"reshape.*24.*\(5, 5\)|reshape.*\(2, 3, 4\)"),
    "flatten": (lambda x: mt.flatten(x, 2, 1), r"\(2, 3, 4\).*the axis 2 comes after the axis 1"),
    "squeeze": (lambda x: mt.squeeze(x, 1), r"\(2, 3, 4\).*the axis 1 has the size 3, not 1"),
    "unsqueeze": (lambda x: mt.unsqueeze(x, 4), r"no place 4 for a new axis; there are 4"),
    "transpose": (lambda x: mt.transpose(x, 0, 3), "no axis 3; there are 3"),
    "permute": (lambda x: mt.permute(x, 0, 0, 1), r"permute.*\(2, 3, 4\)"),
    "broadcast_to": (lambda x: mt.broadcast_to(x, (2, 3)), r"broadcast_to.*\(2, 3, 4\)"),
    "concat": (lambda x: mt.concat([x, x[:, :1]], 2), r"concat: shapes \(2, 3, 4\) and \(2, 1, 4\)"),
    "concat of nothing": (lambda x: mt.concat([]), "there is no tensor; give at least one"),
    "concat without axes": (lambda x: mt.concat([x[0, 0, 0], x[0, 0, 0]]), r"concat: shapes \(\) and \(\)"),
    "stack": (lambda x: mt.stack([x, x[0]]), r"stack: shapes \(2, 3, 4\) and \(3, 4\)"),
    "split": (lambda x: mt.split(x, [1, 1], 1), r"parts of \[1, 1\] are not the axis 1 of size 3"),
    "split below 1": (lambda x: mt.split(x, 0), "at least 1, not 0"),
    "split backwards": (lambda x: mt.split(x, [3, -1]), r"parts of \[3, -1\]"),
    "chunk": (lambda x: mt.chunk(x, 0), "at least 1 part, not 0"),
    "pad flat": (lambda x: mt.pad(x, [1, 2]), r"give a pair \(before, after\) an axis, not \[1, 2\]"),
    "pad too much": (lambda x: mt.pad(x, [(0, 1)] * 4), "at most 3 axes"),
    "pad below 0": (lambda x: mt.pad(x, [(0, -1)]), "widths from 0"),
    "tril": (lambda x: mt.tril(x[0, 0]), "a triangle is of the last two axes"),
}


@pytest.mark.parametrize(("wrong", "message"), SHAPE_ERRORS.values(), ids=SHAPE_ERRORS)
def test_shapes_that_do_not_fit_are_named(backend, wrong, message):
    with pytest.raises(ShapeError, match=message):
        wrong(backend(X))


def test_what_are_no_tensors_or_no_whole_numbers_is_named(backend):
    x = backend(X)
    for wrong, message in (
        (lambda: x.reshape(2.0, 12), r"reshape takes whole numbers, not \(2\.0, 12\)"),
        (lambda: mt.permute(x, "abc"), "permute takes whole numbers, not 'abc'"),
        (lambda: x.reshape(np.array([4, 6])), "reshape takes whole numbers, not"),
        (lambda: mt.transpose(x, (0, 1), 2), r"an axis is a whole number, not \(0, 1\)"),
        (lambda: mt.concat([x, 1.0]), r"concat takes tensors, not the number 1\.0"),
        (lambda: mt.stack(["x"]), "stack takes tensors and numbers, not str"),
        (lambda: mt.flatten([1, 2]), "takes tensors and numbers, not list"),
        (lambda: mt.pad(mt.ones((2,), mt.int64), [(1, 1)], 0.5), r"pad of int64 takes a whole number, not 0\.5"),
    ):
        with pytest.raises(DTypeError, match=message):
            wrong()
