"""softmax, normalisations, cosines and attention, beside PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")

from tests.torch_oracle import numbers, same_as_torch  # noqa: E402 # which needs torch

F = torch.nn.functional
SIZE = st.integers(1, 5)
SCALE = st.sampled_from([0.1, 1, 30])


@settings(max_examples=12, deadline=None)
@given(SIZE, SIZE, SIZE, SCALE, st.integers(-3, 2))
def test_normalisations(n, m, d, scale, axis):
    x = numbers(0, n, m, d) * scale
    same_as_torch(lambda x: mt.softmax(x, axis), lambda x: F.softmax(x, axis), x)
    same_as_torch(lambda x: mt.log_softmax(x, axis), lambda x: F.log_softmax(x, axis), x)
    same_as_torch(lambda x: mt.normalize(x, axis), lambda x: F.normalize(x, dim=axis), x, rtol=1e-7, atol=1e-9)
    weight, bias = numbers(1, d), numbers(2, d)
    # Where a row has one number, its deviation of 0 is divided by the root of eps, and rounding with it.
    same_as_torch(mt.layernorm, lambda x, w, b: F.layer_norm(x, (d,), w, b), x, weight, bias, rtol=1e-6, atol=1e-6)
    same_as_torch(mt.rmsnorm, lambda x, w: F.rms_norm(x, (d,), w, 1e-6), x, weight, rtol=1e-7, atol=1e-8)
    other = numbers(3, 1, m, d)
    cosine = lambda x, y: F.cosine_similarity(x, y, -1)  # noqa: E731 # as short as its neighbours
    same_as_torch(lambda x, y: mt.cosine_similarity(x, y), cosine, x, other, rtol=1e-7, atol=1e-9)


@settings(max_examples=12, deadline=None)
@given(SIZE, SIZE, SIZE, SIZE, SCALE, st.data())
def test_attention(n, m, d, e, scale, data):
    q, k, v = numbers(0, 2, n, d) * scale, numbers(1, 2, m, d), numbers(2, 2, m, e)
    mask = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=n, max_size=n)))
    added = numbers(3, n, m)
    ours, theirs = mt.scaled_dot_product_attention, F.scaled_dot_product_attention
    near = {"rtol": 1e-7, "atol": 1e-8}
    same_as_torch(ours, theirs, q, k, v, **near)
    same_as_torch(lambda *x: ours(*x, is_causal=True), lambda *x: theirs(*x, is_causal=True), q, k, v, **near)
    # Queries that may attend to nothing are among these; PyTorch gives zeros for them, too.
    same_as_torch(lambda *x: ours(*x, mask), lambda *x: theirs(*x, torch.tensor(mask)), q, k, v, **near)
    same_as_torch(
        lambda q, k, v, added: ours(q, k, v, added, scale=0.3),
        lambda q, k, v, added: theirs(q, k, v, added, scale=0.3),
        *(q, k, v, added),
        **near,
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_results_of_other_types_are_as_near_to_float64_as_pytorchs(dtype):
    """Ours are off by at most as much as PyTorch's, or by half a unit of the last place more.

    In float32 that is two units, because the exponential of numpy may be off by 2.5 of the smaller ones.
    """
    x = numbers(0, 64, 100) * 5
    unit = {"float32": 2**-21, "float16": 2**-10, "bfloat16": 2**-7}[dtype]
    for ours, theirs in (
        (mt.softmax, lambda x: F.softmax(x, -1)),
        (mt.log_softmax, lambda x: F.log_softmax(x, -1)),
        (mt.layernorm, lambda x: F.layer_norm(x, (100,))),
        (mt.rmsnorm, lambda x: F.rms_norm(x, (100,), eps=1e-6)),
        (mt.normalize, lambda x: F.normalize(x, dim=-1)),
    ):
        given = torch.tensor(x).to(getattr(torch, dtype))
        exact = theirs(given.double()).numpy()
        their_error = np.abs(theirs(given).double().numpy() - exact).max()
        found = ours(mt.tensor(x, dtype)).to(mt.float64).to_numpy()
        assert np.abs(found - exact).max() <= their_error + unit / 2 * np.abs(exact).max()
