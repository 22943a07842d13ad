"""dropout."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DTypeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture


def test_numbers_are_left_out_and_the_others_scaled(backend):
    mt.manual_seed(0)
    x = backend(np.full((200, 100), 3.0), requires_grad=True)
    out = mt.dropout(x, 0.2)
    stayed = out.to_numpy() != 0
    assert set(np.unique(out.to_numpy())) == {0, 3 / 0.8}
    # Of 20,000 draws, the share is off by more than 0.0115 (four standard deviations) once in 16,000 seeds.
    assert stayed.mean() == pytest.approx(0.8, abs=0.0115)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.to_numpy(), stayed / 0.8)


def test_a_seed_gives_the_same_draws_again_and_every_draw_is_another(backend):
    x = backend(np.ones(64))
    mt.manual_seed(7)
    first, second = mt.dropout(x).tolist(), mt.dropout(x).tolist()
    mt.manual_seed(7)
    assert mt.dropout(x).tolist() == first != second


def test_nothing_is_left_out_in_use_and_all_with_probability_1(backend):
    x = backend(np.array([1.0, -2]), requires_grad=True)
    assert mt.dropout(x, training=False) is x and mt.dropout(x, 0) is x and mt.dropout(x, 1).tolist() == [0, 0]
    assert mt.dropout(backend(np.array(2.0)), 0.5).item() in (0, 4) and mt.dropout(x[:0]).shape == (0,)


@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16, mt.float32], ids=str)
def test_types_stay(dtype):
    out = mt.dropout(mt.ones((50,), dtype), 0.1)
    assert out.dtype is dtype and set(out.tolist()) == {0, mt.tensor(1 / 0.9, dtype).item()}


def test_what_is_no_probability_or_no_tensor_is_named():
    for p in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"p is a probability, from 0 to 1, not {p}"):
            mt.dropout(mt.ones((2,)), p)
    with pytest.raises(DTypeError, match="takes tensors"):
        mt.dropout([1.0])
