"""Numbers chosen by keys of all kinds, against numpy; and gather, take, embedding and one_hot."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, RecordError, ShapeError
from tests.tensor_backends import backend, of_numpy, of_the_standard  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

X = np.arange(24.0).reshape(2, 3, 4) ** 1.5 / 30
IDS = np.array([[2, 0], [-1, 2]])
MASK = X[0] > 0.5

KEYS = {
    "a number": 1,
    "a negative number": -1,
    "numbers": (1, -2, 3),
    "a slice": slice(1, None),
    "slices": (slice(None), slice(None, None, -2), slice(9, 0, -3)),
    "nothing": slice(3, 1),
    "dots": (..., 1),
    "dots for no axis": (0, ..., 1, 2),
    "a new axis": (None, slice(1), ..., None, 2),
    "the whole": (),
    "indexes": IDS % 2,
    "a list": [1, 0, 1],
    "an empty list": [],
    "indexes on the last axis": (..., IDS),
    "indexes on two axes": (slice(None), [0, 2], [1, 1]),
    "indexes that broadcast": (np.array([[0], [1]]), [0, 2, 1]),
    "indexes apart": ([0, 1], slice(1, None), [3, 0]),
    "indexes apart by dots for no axis": (slice(None), [0, 2], ..., [1, 1]),
    "indexes and a number": (0, slice(None, None, -1), [3, 0, 0]),
    "indexes and a new axis": ([1], None, [[2], [0]]),
    "a mask": X > 0.5,
    "a mask of the first axis": np.array([False, True]),
    "a mask of the last axes": (1, MASK),
    "a mask and indexes": (slice(1), np.array([True, False, True]), [3, 0]),
    "a mask that lets nothing through": X > 99,
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_says_what_it_says_in_numpy_and_gradients_go_back_there(backend, key):
    np.testing.assert_array_equal(backend(X)[key].to_numpy(), X[key])
    check_slopes(lambda x: x[key] ** 2, [X], backend, twice=False)


@pytest.mark.parametrize("key", [IDS % 2, np.array([True, False]), np.array(1)], ids=["indexes", "mask", "number"])
def test_keys_may_be_tensors(backend, key):
    np.testing.assert_array_equal(backend(X)[backend(key)].to_numpy(), X[key])


def test_keys_may_mix_tensors_with_everything_else(backend):
    np.testing.assert_array_equal(backend(X)[0, ..., backend(IDS)].to_numpy(), X[0, ..., IDS])


entries = st.one_of(
    st.integers(-4, 4),
    st.slices(4),
    st.sampled_from([None, ...]),
    st.lists(st.integers(-4, 4), min_size=2, max_size=2),
    st.lists(st.booleans(), min_size=2, max_size=4).map(np.array),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(entries, max_size=4).map(tuple), st.sampled_from([of_numpy, of_the_standard]))
def test_any_key_gives_what_it_gives_in_numpy_or_is_refused_as_there(key, make):
    try:
        expected = X[key]
    except IndexError:
        with pytest.raises(ShapeError, match="index"):
            make(X)[key]
    else:
        np.testing.assert_array_equal(make(X)[key].to_numpy(), expected)


def test_numbers_of_numpy_are_numbers(backend):
    np.testing.assert_array_equal(backend(X)[np.int64(1), ..., np.int8(-1)].to_numpy(), X[1, :, -1])


def test_a_number_without_axes_is_let_through_by_a_mask_or_not(backend):
    x = backend(np.array(2.5), requires_grad=True)
    assert x[x > 2].tolist() == [2.5] and x[x > 3].shape == (0,) and x[True].shape == (1,)
    x[x > 2].sum().backward()
    assert x.grad.item() == 1


def test_what_is_chosen_again_and_again_gets_all_its_gradients(backend):
    table = backend(np.zeros((3, 2)), requires_grad=True)
    mt.embedding(table, backend(np.array([1, 1, 0, 1]))).sum().backward()
    assert table.grad.tolist() == [[1, 1], [3, 3], [0, 0]]


def test_many_rows_are_added_up_as_one_by_one():
    rng = np.random.default_rng(0)
    ids, rows = rng.integers(0, 50, 3000), rng.standard_normal((3000, 33))  # which is more than is added in one go
    table = mt.zeros((50, 33), mt.float64, requires_grad=True)
    mt.embedding(table, ids).backward(mt.tensor(rows))
    expected = np.zeros((50, 33))
    np.add.at(expected, ids, rows)
    np.testing.assert_array_equal(table.grad.to_numpy(), expected)


def test_take_and_gather_choose_as_numpy_does(backend):
    x, ids = backend(X), backend(IDS)
    for axis in (1, -2):
        np.testing.assert_array_equal(mt.take(x, ids, axis).to_numpy(), np.take(X, IDS, axis))
    np.testing.assert_array_equal(mt.take(x, [5, -1]).to_numpy(), np.take(X, [5, -1]))
    np.testing.assert_array_equal(mt.take(x, 1, 2).to_numpy(), X[:, :, 1])
    index = np.array([[[0, -1, 3, 3, 1]]])
    np.testing.assert_array_equal(mt.gather(x, -1, backend(index)).to_numpy(), X[:1, :1, [0, 3, 3, 3, 1]])
    np.testing.assert_array_equal(
        mt.gather(x, 0, backend(np.ones((3, 3, 4), int))).to_numpy(), np.broadcast_to(X[1], (3, 3, 4))
    )


def test_choices_have_gradients_and_these_have_gradients(backend):
    small, twice = X[:, :, 0], backend is of_numpy
    index = backend(np.array([[0, 2, -1, 0]]))
    check_slopes(lambda x: mt.take(x, backend(IDS), 1) ** 3, [small], backend, twice=twice)
    check_slopes(lambda x: mt.take(x, [4, 4, 0]) ** 3, [small], backend, twice=twice)
    check_slopes(lambda x: mt.gather(x, 1, index) ** 3, [small], backend, twice=twice)
    check_slopes(lambda x: mt.embedding(x, backend(IDS % 2)) ** 3, [small], backend, twice=twice)
    check_slopes(lambda x: x[:, [0, 2], None][[1, 1]] ** 3, [small], backend, twice=twice)


@pytest.mark.parametrize("dtype", [mt.int64, mt.int32, mt.int8, mt.uint8], ids=str)
def test_indexes_are_of_any_integers(backend, dtype):
    ids = backend(np.array([1, 0, 1])).to(dtype=dtype)
    x = backend(np.arange(600.0).reshape(2, 300))
    assert mt.take(x, ids, 0)[:, 0].tolist() == [300, 0, 300] and x[ids, ids].tolist() == [301, 0, 301]
    assert mt.gather(x, 0, mt.reshape(ids, 3, 1)).tolist() == [[300], [0], [300]]
    if dtype is not mt.uint8:
        # As wide as it has to be: -1 of 300 is no number of 8 bits.
        assert x[0][-ids].tolist() == [299, 0, 299] and x[ids, -ids].tolist() == [599, 0, 599]


def test_16_bit_floats_are_chosen_bit_by_bit_and_their_gradients_added_in_float32(backend):
    table = backend(np.array([1.0, 2.0**-9, 3.0])).to(dtype=mt.bfloat16).requires_grad_()
    chosen = mt.embedding(table.reshape(3, 1), backend(np.zeros(300, int)))
    assert chosen.dtype is mt.bfloat16 and chosen[7].item() == 1
    chosen.sum().backward()
    assert table.grad.dtype is mt.bfloat16 and table.grad.tolist() == [300, 0, 0]  # in bfloat16 it would stop at 256


def test_one_hot_marks_the_class(backend):
    hot = mt.one_hot(backend(np.array([[0, 2]])), 3)
    assert hot.dtype is mt.float32 and hot.tolist() == [[[1, 0, 0], [0, 0, 1]]]
    assert mt.one_hot(backend(np.array(1)), 2, dtype="bool").tolist() == [False, True]


def test_a_parameter_is_a_table_as_well():
    table = nn.Parameter(mt.tensor([[1.0, 2], [3, 4]]))
    mt.embedding(table, [1, 1]).sum().backward()
    assert table.grad.tolist() == [[0, 0], [2, 2]]
    assert mt.take(table, nn.Parameter(mt.tensor([1]), requires_grad=False), 0).tolist() == [[3, 4]]


OUT_OF_RANGE = {
    "a number": (lambda x, make: x[3], "index 3 is out of range for an axis of size 2"),
    "a number among others": (lambda x, make: x[:, -4], "index -4 is out of range for an axis of size 3"),
    "a number beside indexes": (lambda x, make: x[5, [0, 1]], "index 5 is out of range for an axis of size 2"),
    "an index": (lambda x, make: x[:, make([0, 7])], "index 7 is out of range for an axis of size 3"),
    "indexes": (lambda x, make: x[make([0, 1]), make([0, -4])], "index -4 is out of range for an axis of size 3"),
    "into nothing": (lambda x, make: x[:0][make([0])], "index 0 is out of range for an axis of size 0"),
    "of nothing": (lambda x, make: x[:0, make([0, 3])], "index 3 is out of range for an axis of size 3"),
    "take": (lambda x, make: mt.take(x, make([0, -25])), "take.*index -25 is out of range for an axis of size 24"),
    "gather": (lambda x, make: mt.gather(x, 2, make([[[4]]])), "gather.*index 4 is out of range for an axis of size 4"),
    "embedding": (lambda x, make: mt.embedding(x, make([2])), "index 2 is out of range for an axis of size 2"),
    "embedding below 0": (
        lambda x, make: mt.embedding(x, make([-1])),
        "index -1 is out of range for an axis of size 2",
    ),
    "one_hot": (lambda x, make: mt.one_hot(make([1, 3]), 3), "one_hot.*index 3 is out of range for an axis of size 3"),
    "one_hot below 0": (lambda x, make: mt.one_hot(make([-1]), 3), "index -1 is out of range for an axis of size 3"),
}


@pytest.mark.parametrize(("wrong", "message"), OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_an_index_out_of_range_is_named_with_the_size(backend, wrong, message):
    with pytest.raises(IndexError, match=message):
        wrong(backend(X), lambda ids: backend(np.array(ids)))


REFUSED = {
    "a fraction": (lambda x: x[1.0], DTypeError, r"index takes whole numbers, slices and masks, not 1\.0"),
    "floats": (lambda x: x[mt.ones((2,))], DTypeError, "indexes are whole numbers, not float32"),
    "bfloat16": (lambda x: x[mt.ones((2,), mt.bfloat16)], DTypeError, "indexes are whole numbers, not bfloat16"),
    "text": (lambda x: x["name"], DTypeError, "whole numbers, slices and masks, not 'name'"),
    "unequal lists": (lambda x: x[[[1], [1, 2]]], DTypeError, "whole numbers, slices and masks"),
    "a slice of fractions": (lambda x: x[0.5:], DTypeError, "slices are of whole numbers"),
    "no step": (lambda x: x[::0], ShapeError, "the step of a slice is not 0"),
    "too many": (lambda x: x[0, 0, 0, 0], ShapeError, r"\(2, 3, 4\).*there are 3 axes, and 4 indexes"),
    "too many with indexes": (lambda x: x[[0], 0, 0, 0], ShapeError, "there are 3 axes, and 4 indexes"),
    "dots twice": (lambda x: x[..., 0, ...], ShapeError, "may come once"),
    "a mask of another shape": (
        lambda x: x[X[:, :2] > 0],
        ShapeError,
        r"a mask \(2, 2, 4\) does not fit .* \(2, 3, 4\)",
    ),
    "a mask without axes": (lambda x: x[True, [0]], DTypeError, "a mask without axes stands alone"),
    "indexes of two shapes": (lambda x: x[[0, 1], [0, 1, 2]], ShapeError, r"\(2,\) and \(3,\)"),
    "gather of other axes": (lambda x: mt.gather(x, 0, [1]), ShapeError, r"\(2, 3, 4\) and indexes \(1,\) have not"),
    "gather beyond": (lambda x: mt.gather(x, 0, np.zeros((1, 4, 4), int)), ShapeError, "reach beyond .* on axis 1"),
    "gather by a mask": (lambda x: mt.gather(x, 0, X > 0), DTypeError, "indexes are whole numbers, not bool"),
    "no such axis": (lambda x: mt.take(x, [0], 3), ShapeError, "no axis 3; there are 3"),
    "no table": (lambda x: mt.embedding([[1.0]], [0]), DTypeError, "takes tensors and numbers, not list"),
}


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_keys_that_mean_nothing_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(mt.tensor(X))


def test_a_runtime_cannot_record_how_much_a_mask_lets_through():
    x = mt.tensor(X)
    with pytest.raises(RecordError, match="greater"), mt.Runtime():
        x[x > 0.5]


def test_while_the_work_of_a_gpu_is_recorded_nobody_looks_at_indexes(monkeypatch):
    """There are no numbers yet then; negative indexes have to be right all the same."""
    monkeypatch.setattr("msgflow.tensor.rules.indexing.may_be_looked_at", lambda array: False)
    x, ids = of_the_standard(X), of_the_standard(IDS)
    np.testing.assert_array_equal(mt.take(x, ids, 1).to_numpy(), X[:, IDS])
    np.testing.assert_array_equal(x[0, ids, ids].to_numpy(), X[0, IDS, IDS])
    check_slopes(lambda x: mt.take(x, ids, 1) ** 2, [X[:1, :, :1]], of_the_standard)


def test_nothing_can_be_chosen_from_nothing(backend):
    nothing = backend(np.zeros((0, 3)), requires_grad=True)
    none = backend(np.zeros((2, 0), int))
    for empty in (mt.embedding(nothing, none), nothing[none]):
        assert empty.shape == (2, 0, 3)
        empty.sum().backward()
        assert nothing.grad.shape == (0, 3)
    assert mt.gather(backend(X), 1, backend(np.zeros((2, 0, 4), int))).shape == (2, 0, 4)


def test_a_slice_whose_end_is_a_tensor_keeps_its_gradient_where_it_was():
    x, end = mt.tensor([1.0, 2.0, 3.0], requires_grad=True), mt.tensor(2)
    part = x[:end]
    end.from_numpy(np.array(1))
    part.sum().backward()
    assert x.grad.tolist() == [1, 1, 0]
    assert not mt.no_grad(lambda: x[0])().requires_grad
