"""Tensors taken apart, put together and searched, beside PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")

from tests.torch_oracle import numbers, same_as_torch  # noqa: E402 # which needs torch

SIZES = st.tuples(*[st.integers(1, 4)] * 3)
AXIS = st.integers(-3, 2)


@settings(max_examples=12, deadline=None)
@given(SIZES, AXIS, st.integers(1, 4), st.integers(0, 2))
def test_parts_and_wholes(sizes, axis, size, k):
    x, y = numbers(0, *sizes), numbers(1, *sizes)
    same_as_torch(lambda x, y: mt.concat([x, y * x], axis), lambda x, y: torch.cat([x, y * x], axis), x, y)
    same_as_torch(lambda x, y: mt.stack([x, y * x], axis), lambda x, y: torch.stack([x, y * x], axis), x, y)
    same_as_torch(lambda x: mt.split(x, size, axis)[-1] ** 2, lambda x: torch.split(x, size, axis)[-1] ** 2, x)
    same_as_torch(lambda x: mt.chunk(x, size, axis)[-1] ** 2, lambda x: torch.chunk(x, size, axis)[-1] ** 2, x)
    same_as_torch(
        lambda x: mt.pad(x, [(k, 1), (0, size)], 1.5) ** 2,
        lambda x: torch.nn.functional.pad(x, (0, size, k, 1), value=1.5) ** 2,
        x,
    )
    same_as_torch(lambda x: mt.tril(x, k - 1) ** 2, lambda x: torch.tril(x, k - 1) ** 2, x)


@settings(max_examples=12, deadline=None)
@given(SIZES, AXIS, st.integers(0, 5), st.data())
def test_gather_takes_any_index_that_pytorchs_takes(sizes, axis, count, data):
    shape = [data.draw(st.integers(0, size)) for size in sizes]
    shape[axis] = count
    index = np.random.default_rng(2).integers(0, sizes[axis], shape)
    same_as_torch(
        lambda x: mt.gather(x, axis, index) ** 3,
        lambda x: torch.gather(x, axis, torch.tensor(index)) ** 3,
        numbers(0, *sizes),
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_embedding(count, width, ids):
    ids = np.array(ids, int) % count
    same_as_torch(
        lambda weight: mt.embedding(weight, ids) ** 3,
        lambda weight: torch.nn.functional.embedding(torch.tensor(ids), weight) ** 3,
        numbers(0, count, width),
    )


# A number beside indexes, but apart from them, is not here: it counts as an index in numpy, and not in PyTorch.
KEYS = [([0, 1, 1], None, [2, 0, 2]), (..., [[0], [1]], [1, 0]), (slice(1), [1], slice(0, 2))]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_keys(key):
    same_as_torch(lambda x: x[key] ** 3, lambda x: x[key] ** 3, numbers(0, 2, 3, 3))


@settings(max_examples=12, deadline=None)
@given(SIZES, AXIS, st.booleans(), st.data())
def test_searches(sizes, axis, largest, data):
    x = numbers(0, *sizes)
    k = data.draw(st.integers(0, sizes[axis]))
    same_as_torch(
        lambda x: mt.topk(x, k, axis, largest).values ** 3, lambda x: torch.topk(x, k, axis, largest).values ** 3, x
    )
    same_as_torch(
        lambda x: mt.sort(x, axis, descending=largest).values ** 3,
        lambda x: torch.sort(x, dim=axis, descending=largest, stable=True).values ** 3,
        x,
    )


@pytest.mark.parametrize("largest", [True, False])
def test_nan_counts_as_the_largest_in_pytorch_as_well(largest):
    x = np.array([0.5, np.nan, -np.inf, np.inf, 2])
    ours, theirs = mt.topk(mt.tensor(x), 4, largest=largest), torch.topk(torch.tensor(x), 4, largest=largest)
    assert ours.indexes.tolist() == theirs.indices.tolist()
    ordered = torch.sort(torch.tensor(x), descending=largest, stable=True)
    assert mt.argsort(mt.tensor(x), descending=largest).tolist() == ordered.indices.tolist()
