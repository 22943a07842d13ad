"""Tensors as values: to and from numpy and other libraries, shown, copied, pickled, compared, given other numbers."""

import copy
import pickle

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DTypeError, GradientError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture


def test_a_tensor_says_what_it_is(backend):  # noqa: F811 # the fixture
    x = backend(np.zeros((2, 3), "float32"))
    assert (x.shape, x.ndim, x.size, len(x), x.dtype, x.requires_grad) == ((2, 3), 2, 6, 2, mt.float32, False)
    assert [row.shape for row in x] == [(3,), (3,)]
    assert x.is_leaf and x.grad is None and x.spec is None and x.is_floating


def test_a_scalar_has_no_length():
    with pytest.raises(DTypeError, match="without axes has no length"):
        len(mt.tensor(1.0))


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda: mt.tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (lambda: mt.tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (lambda: mt.tensor(True), "tensor(True)"),
        (lambda: mt.tensor([1.5], dtype="bf16"), "tensor([1.5], dtype=bfloat16)"),
        (lambda: mt.tensor([1], dtype="int8"), "tensor([1], dtype=int8)"),
        (lambda: mt.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: mt.zeros((0, 2)), "tensor([], shape=(0, 2))"),
        (lambda: mt.zeros(2000), "tensor([0., 0., 0., ..., 0., 0., 0.])"),
    ],
)
def test_a_tensor_is_shown_as_numpy_shows_arrays(made, shown):
    assert repr(made()) == shown


def test_a_number_is_formatted_as_one():
    assert f"{mt.tensor(2.0):.2f} {mt.tensor(7):03d} {mt.tensor([1])}" == "2.00 007 tensor([1])"


def test_to_numpy_is_a_copy_to_change(backend):  # noqa: F811 # the fixture
    x = backend(np.array([1.0, 2.0]))
    copied = x.to_numpy()
    copied[0] = 7
    assert x.tolist() == [1, 2]


def test_numpy_reads_a_tensor_without_a_copy_and_cannot_write_to_it():
    x = mt.tensor([1.0, 2.0])
    view = np.asarray(x)
    assert np.shares_memory(view, x.array) and not view.flags.writeable
    assert np.asarray(x, dtype="float64").dtype == "float64" and np.array(x).flags.writeable
    assert np.allclose(x, [1, 2])


def test_numpy_is_told_where_only_a_copy_would_do():
    with pytest.raises(ValueError, match="float32 on cpu cannot become float64 of numpy without a copy"):
        np.array(mt.tensor([1.0]), dtype="float64", copy=False)
    assert np.asarray(mt.tensor([1.5], dtype="bf16")).dtype == "float32"
    with pytest.raises(ValueError, match="bfloat16"):
        np.array(mt.tensor([1.5], dtype="bf16"), copy=False)


def test_dlpack_goes_both_ways_in_the_same_memory(backend):  # noqa: F811 # the fixture
    x = mt.tensor([[1, 2], [3, 4]])
    assert np.shares_memory(np.from_dlpack(x), x.array)
    theirs = np.arange(6.0).reshape(2, 3)
    ours = mt.from_dlpack(theirs)
    assert np.shares_memory(ours.array, theirs) and ours.dtype is mt.float64
    assert mt.from_dlpack(backend(np.array([True, False]))).tolist() == [True, False]
    assert mt.from_dlpack(np.array([1.5], "float16")).dtype is mt.float16


def test_dlpack_of_types_that_one_of_both_has_not_is_refused():
    with pytest.raises(DTypeError, match=r"bfloat16.*\.to\(mt\.float32\)"):
        np.from_dlpack(mt.ones(2, "bf16"))
    for name in ["uint16", "complex64", "int16"]:
        with pytest.raises(DTypeError, match=f"cannot hold {name}"):
            mt.from_dlpack(np.ones(2, name))
    with pytest.raises(DTypeError, match=r"not \[1, 2\]; mt\.tensor takes numbers"):
        mt.from_dlpack([1, 2])


@pytest.mark.parametrize("dtype", [mt.float32, mt.bfloat16, mt.float16, mt.int8, mt.bool], ids=repr)
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_have_the_same_numbers_and_type(dtype, again):
    x = mt.tensor([[0.0, 1.0]]).to(dtype)
    other = again(x)
    assert other is not x and other.dtype is dtype and other.tolist() == x.tolist() and not other.requires_grad


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_a_leaf_is_a_leaf_of_its_own(again):
    x = mt.tensor([1.0], requires_grad=True)
    x.grad = mt.tensor([5.0])
    other = again(x)
    assert other.requires_grad and other.grad is None
    (other * 2).sum().backward()
    assert (other.grad.tolist(), x.grad.tolist()) == ([2], [5])
    assert not again(x * 2).requires_grad


def test_a_number_comes_out_of_a_tensor_of_one(backend):  # noqa: F811 # the fixture
    assert backend(np.array([[2.5]])).item() == 2.5 and backend(np.array(True)).item() is True
    assert (float(backend(np.array(2))), int(backend(np.array(2.9))), bool(backend(np.array(0.0)))) == (2.0, 2, False)
    assert [10, 11, 12][mt.tensor(1)] == 11 and hex(backend(np.array(255))) == "0xff"


def test_several_numbers_are_neither_one_nor_true_or_false():
    x = mt.ones((2, 2))
    with pytest.raises(ShapeError, match=r"item.*\(2, 2\)"):
        x.item()
    with pytest.raises(ShapeError, match=r"\(2, 2\).*mt\.any or mt\.all"):
        bool(x == 1)
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        float(x)
    with pytest.raises(DTypeError, match="whole number"):
        [1, 2][mt.tensor(1.0)]


def test_tensors_are_compared_number_by_number_and_found_by_identity():
    x, y = mt.tensor([1.0, 2.0]), mt.tensor([1.0, 3.0])
    assert (x == y).tolist() == [True, False] and (x != y).tolist() == [False, True]
    assert len({x, y, x}) == 2 and hash(x) == hash(x)
    assert 2.0 in x and 5 not in x
    assert (x == "text") is False and (x != None) is True  # noqa: E711 # the comparison is the test


def test_numbers_do_not_change_in_place():
    with pytest.raises(TypeError, match=r"mt\.where"):
        mt.zeros(3)[0] = 1
    x = y = mt.tensor([1.0])
    x += 1
    assert (x.tolist(), y.tolist()) == ([2], [1])


def test_from_numpy_gives_other_numbers_of_the_same_shape_and_type(backend):  # noqa: F811 # the fixture
    x = backend(np.zeros((2, 2), "float32"))
    before = x.detach()
    came = np.array([[1, 2], [3, 4]])
    assert x.from_numpy(came) is x
    came[0, 0] = 9
    assert x.tolist() == [[1, 2], [3, 4]] and x.dtype is mt.float32
    assert before.tolist() == [[0, 0], [0, 0]]
    assert x.from_numpy(mt.ones((2, 2))).tolist() == [[1, 1], [1, 1]]
    assert mt.tensor(0.0).from_numpy(3).item() == 3
    x.data = [[5, 6], [7, 8]]
    assert x.data.tolist() == [[5, 6], [7, 8]]


def test_from_numpy_keeps_a_leaf_a_leaf():
    x = mt.tensor([1.0], requires_grad=True)
    (x * 3).sum().backward()
    x.from_numpy([2.0])
    assert x.requires_grad and x.grad.tolist() == [3]
    (x * x).sum().backward()
    assert x.grad.tolist() == [3 + 4]


def test_from_numpy_refuses_other_shapes_and_what_is_not_stored_here():
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        mt.zeros(2).from_numpy([1, 2, 3])
    with pytest.raises(DTypeError, match="uint16"):
        mt.zeros(2).from_numpy(np.ones(2, "uint16"))
    result = mt.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(GradientError, match="result of an operation"):
        result.from_numpy([1.0])


def test_backward_after_from_numpy_says_that_the_numbers_are_gone():
    x = mt.tensor([2.0], requires_grad=True)
    y = (x * x).sum()
    x.from_numpy([5.0])
    with pytest.raises(GradientError, match=r"multiply.*other numbers since"):
        y.backward()


def test_only_floats_have_gradients():
    with pytest.raises(GradientError, match="int64"):
        mt.tensor([1]).requires_grad_()
    with pytest.raises(GradientError, match="bool"):
        mt.tensor([True], requires_grad=True)


def test_requires_grad_goes_on_and_off_at_leaves_alone():
    x = mt.ones(2)
    x.requires_grad = True
    assert (x * 2).requires_grad and not x.detach().requires_grad
    with pytest.raises(GradientError, match="detach"):
        (x * 2).requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad
    with pytest.raises(GradientError, match="keeps no gradient"):
        x.grad = mt.ones(2)


def test_moving_to_where_it_is_already_is_the_same_tensor(backend):  # noqa: F811 # the fixture
    x = backend(np.ones(2, "float32"))
    assert x.to(mt.float32) is x and x.to(x.device) is x
    assert x.to(mt.float64).dtype is mt.float64 and x.to(dtype="int8").tolist() == [1, 1]
    assert x.cpu().device == "cpu"


def test_the_last_two_axes_or_all_are_swapped(backend):  # noqa: F811 # the fixture
    x = backend(np.zeros((2, 3, 4)))
    assert x.T.shape == (4, 3, 2) and x.mT.shape == (2, 4, 3)
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        mt.zeros(4).mT  # noqa: B018 # reading it is the test


def test_a_tensor_has_no_attributes_but_its_own():
    with pytest.raises(AttributeError):
        mt.zeros(1).name = "x"
