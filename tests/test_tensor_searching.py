"""The largest, the smallest, and order, against numpy's stable sort."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import msgflow.tensor as mt
from msgflow.errors import ShapeError
from tests.tensor_backends import backend, of_numpy, of_the_standard  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes


def in_order(array, axis, *, descending):
    """The indexes that a plain stable sort of Python gives; NaN is the largest."""

    def order(row):
        keys = [(bool(number != number), 0 if number != number else number) for number in row.tolist()]
        if not descending:
            return sorted(range(len(keys)), key=keys.__getitem__)
        # Backwards and back again, so that equal ones keep their order.
        return sorted(range(len(keys)), key=lambda place: keys[place], reverse=True)

    return np.apply_along_axis(lambda row: np.array(order(row), dtype=int), axis, array)


ANY = hnp.arrays(
    st.sampled_from(["float64", "float32", "int64", "int8", "uint8", "bool"]),
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
)


@settings(max_examples=40, deadline=None)
@given(ANY, st.data(), st.booleans(), st.sampled_from([of_numpy, of_the_standard]))
def test_topk_sort_and_argsort_are_parts_of_a_stable_sort(array, data, largest, make):
    axis = data.draw(st.integers(0, array.ndim - 1))
    k = data.draw(st.integers(0, array.shape[axis]))
    expected = in_order(array, axis, descending=largest)
    values, indexes = mt.topk(make(array), k, axis, largest)
    first = np.take(expected, range(k), axis)
    np.testing.assert_array_equal(indexes.to_numpy(), first)
    np.testing.assert_array_equal(values.to_numpy(), np.take_along_axis(array, first, axis))
    ordered = mt.sort(make(array), axis, descending=largest)
    np.testing.assert_array_equal(ordered.indexes.to_numpy(), expected)
    np.testing.assert_array_equal(ordered.values.to_numpy(), np.take_along_axis(array, expected, axis))
    np.testing.assert_array_equal(mt.argsort(make(array), axis, descending=largest).to_numpy(), expected)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("kind", ["apart", "ties", "equal", "nan", "many nan", "infinite"])
def test_a_few_of_many_are_those_of_a_full_sort(backend, kind, largest):
    numbers = np.random.default_rng(0).standard_normal((2, 5003)).astype("float32")
    if kind == "ties":
        numbers = np.round(numbers)
    if kind == "equal":
        numbers[:] = 1
    if "nan" in kind:
        numbers[0, :: 2 if kind == "many nan" else 999] = np.nan
    if kind == "infinite":
        numbers[:, 7::3] = -np.inf
        numbers[:, 5] = np.inf
    values, indexes = mt.topk(backend(numbers), 9, largest=largest)
    expected = in_order(numbers, 1, descending=largest)[:, :9]
    np.testing.assert_array_equal(indexes.to_numpy(), expected)
    np.testing.assert_array_equal(values.to_numpy(), np.take_along_axis(numbers, expected, 1))


def test_while_the_work_of_a_gpu_is_recorded_nobody_counts_candidates(monkeypatch):
    """There are no numbers yet then, so that everything is sorted."""
    monkeypatch.setattr("msgflow.tensor.rules.searching.may_be_looked_at", lambda array: False)
    numbers = np.random.default_rng(0).integers(0, 9, (2, 50))
    assert mt.topk(mt.tensor(numbers), 3).indexes.tolist() == in_order(numbers, 1, descending=True)[:, :3].tolist()


def test_results_have_names_and_indexes_are_int64(backend):
    found = mt.topk(backend(np.array([[3.0, 1, 2], [0, 5, 4]])), 2)
    assert found.values.tolist() == [[3, 2], [5, 4]] and found.indexes.tolist() == [[0, 2], [1, 2]]
    assert found.indexes.dtype is mt.int64
    assert mt.topk(backend(np.array([3, 1, 2])), 1, largest=False).values.tolist() == [1]


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16], ids=str)
def test_16_bit_floats_are_compared_as_numbers_and_not_as_bits(dtype):
    x = mt.tensor([-1.0, 2, -0.5, float("-inf"), 2], dtype)
    assert mt.argsort(x).tolist() == [3, 0, 2, 1, 4]
    found = mt.topk(x, 3)
    assert found.values.dtype is dtype and found.values.tolist() == [2, 2, -0.5] and found.indexes.tolist() == [1, 4, 2]


def test_values_have_gradients_and_these_have_gradients(backend):
    x = np.array([[0.3, -1.2, 0.9], [1.1, 0.2, -0.4]])
    check_slopes(lambda x: mt.topk(x, 2).values ** 3, [x], backend, twice=backend is of_numpy)
    check_slopes(lambda x: mt.topk(x, 1, 0, largest=False).values ** 3, [x], backend, twice=backend is of_numpy)
    check_slopes(lambda x: mt.sort(x, 0, descending=True).values ** 3, [x], backend, twice=backend is of_numpy)


def test_where_there_is_nothing_nothing_is_found(backend):
    assert [part.shape for part in mt.topk(backend(np.zeros((2, 0))), 0)] == [(2, 0), (2, 0)]
    assert [part.shape for part in mt.topk(backend(np.zeros((0, 9))), 2)] == [(0, 2), (0, 2)]
    assert mt.sort(backend(np.zeros((0,)))).values.shape == (0,)


def test_a_k_that_is_more_than_there_are_is_named_with_the_size(backend):
    x = backend(np.zeros((2, 3)))
    for k in (4, -1):
        with pytest.raises(ShapeError, match=rf"topk.*\(2, 3\).*k is {k}, and the axis 1 has 3"):
            mt.topk(x, k)
    for wrong in (lambda: mt.topk(x, 1, 2), lambda: mt.sort(x, -3), lambda: mt.argsort(x, 2)):
        with pytest.raises(ShapeError, match="there is no axis"):
            wrong()
