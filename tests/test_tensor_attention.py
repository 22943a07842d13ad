"""Scaled dot-product attention, against loops over queries in float64."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

RNG = np.random.default_rng(0)
Q, K, V = RNG.standard_normal((2, 3, 4)), RNG.standard_normal((2, 5, 4)), RNG.standard_normal((2, 5, 6))
MASK = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
attention = mt.scaled_dot_product_attention


def expected(q, k, v, may_attend=None, added=0.0, scale=0.5):
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for *batch, query in np.ndindex(q.shape[:-1]):
        scores = k[tuple(batch)] @ q[(*batch, query)] * scale
        scores = scores + np.broadcast_to(added, (*q.shape[:-1], k.shape[-2]))[(*batch, query)]
        weights = np.exp(scores)
        if may_attend is not None:
            weights = weights * np.broadcast_to(may_attend, (*q.shape[:-1], k.shape[-2]))[(*batch, query)]
        if weights.sum():
            out[(*batch, query)] = weights / weights.sum() @ v[tuple(batch)]
    return out


CAUSAL = np.tri(3, 5, dtype=bool)
WAYS = {
    "plain": ({}, {}),
    "scaled": ({"scale": 0.1}, {"scale": 0.1}),
    "masked": ({"mask": MASK}, {"may_attend": MASK}),
    "masked by batch": ({"mask": np.stack([MASK, ~MASK])}, {"may_attend": np.stack([MASK, ~MASK])}),
    "additive": ({"mask": MASK * 1.5}, {"added": MASK * 1.5}),
    "causal": ({"is_causal": True}, {"may_attend": CAUSAL}),
    "causal and masked": ({"mask": MASK, "is_causal": True}, {"may_attend": MASK & CAUSAL}),
}


@pytest.mark.parametrize(("options", "meaning"), WAYS.values(), ids=WAYS)
def test_each_query_gets_the_mean_of_the_values_that_its_keys_weigh(backend, options, meaning):
    if "mask" in options:
        options = options | {"mask": backend(options["mask"])}
    out = attention(*map(backend, (Q, K, V)), **options)
    np.testing.assert_allclose(out.to_numpy(), expected(Q, K, V, **meaning), rtol=1e-10, atol=1e-12)
    small = [array[..., :1] for array in (Q, K, V)]
    check_slopes(lambda q, k, v: attention(q, k, v, **options), small, backend, twice=False)


def test_gradients_have_gradients_where_some_queries_attend_to_nothing(backend):
    mask = backend(np.array([[True, False], [False, False]]))
    check_slopes(lambda q, k, v: attention(q, k, v, mask), [Q[0, :2, :2], K[0, :2, :2], V[0, :2, :1]], backend)


def test_a_query_that_may_attend_to_nothing_gets_zeros_and_finite_gradients(backend):
    for mask in (np.zeros((3, 5), bool), np.full((3, 5), -np.inf)):
        q = backend(Q, requires_grad=True)
        out = attention(q, backend(K), backend(V), backend(mask))
        out.sum().backward()
        assert not out.to_numpy().any() and not q.grad.to_numpy().any()


def test_leading_axes_broadcast_and_masks_may_be_arrays_and_lists():
    q, k, v = map(mt.tensor, (Q, K[0], V[0]))
    expect = expected(Q, np.stack([K[0]] * 2), np.stack([V[0]] * 2), may_attend=MASK)
    for mask in (MASK, MASK.tolist()):
        np.testing.assert_allclose(attention(q, k, v, mask).to_numpy(), expect, rtol=1e-10)
    additive = attention(q, k, v, np.where(MASK, 0.0, -np.inf))
    np.testing.assert_allclose(additive.to_numpy(), expect, rtol=1e-10)


def test_large_scores_overflow_nowhere(backend):
    """Warnings are errors in this suite."""
    q, k, v = (backend(array.astype("float32") * 1e3, requires_grad=True) for array in (Q, K, V))
    out = attention(q, k, v, is_causal=True)
    out.sum().backward()
    assert all(np.isfinite(array.to_numpy()).all() for array in (out, q.grad, k.grad, v.grad))


@pytest.mark.parametrize(("dtype", "tolerance"), [(mt.float16, 2**-11), (mt.bfloat16, 2**-8)], ids=["fp16", "bf16"])
def test_16_bit_floats_are_computed_in_float32_to_the_end(dtype, tolerance):
    """Half a unit of the last of 11 or 8 bits is what rounding the result costs, and all there is to lose."""
    q, k, v = (mt.tensor(array).to(dtype=dtype) for array in (Q, K, V))
    wide = [x.to(dtype=mt.float64).to_numpy() for x in (q, k, v)]
    for mask in (MASK, mt.tensor(MASK * 1.5, dtype)):
        out = attention(q, k, v, mask)
        meaning = {"may_attend": MASK} if mask is MASK else {"added": MASK * 1.5}
        assert out.dtype is dtype
        np.testing.assert_allclose(
            out.to(mt.float64).to_numpy(), expected(*wide, **meaning), rtol=tolerance * 1.01, atol=1e-6
        )


def test_types_are_promoted_as_everywhere():
    q, k, v = mt.ones((2, 3), mt.bfloat16), mt.ones((2, 3)), mt.ones((2, 3), mt.float64)
    types = [attention(*given).dtype for given in ((q, q, q), (q, q, k), (k, k, v), (v.to(mt.int64),) * 3)]
    assert types == [mt.bfloat16, mt.float32, mt.float64, mt.float64]


def test_weights_are_dropped_at_random():
    """The values are a unit matrix, so that the result is the weights."""
    mt.manual_seed(0)
    q, v = mt.zeros((40, 2)), mt.tensor(np.eye(40, dtype="float32"))
    out = attention(q, q, v, dropout_p=0.5).to_numpy()
    assert set(np.unique(out * 40).round(4)) == {0, 2} and 0.4 < (out == 0).mean() < 0.6
    assert np.ptp(attention(q, q, v).to_numpy()) == 0


def test_without_keys_there_is_nothing_to_attend_to(backend):
    q, none = backend(Q), backend(np.zeros((2, 0, 4)))
    assert attention(q, none, none).tolist() == np.zeros((2, 3, 4)).tolist()
    assert attention(none, none, none, is_causal=True).shape == (2, 0, 4)


def test_what_does_not_fit_is_named(backend):
    q, k, v = map(backend, (Q, K, V))
    for wrong in (
        lambda: attention(q, k[..., :3], v),
        lambda: attention(q, k, v[:, :4]),
        lambda: attention(q, k, v[0, 0]),
    ):
        with pytest.raises(ShapeError, match=r"scaled_dot_product_attention: shapes \(2, 3, 4\) and \(2, 5, "):
            wrong()
    with pytest.raises(ShapeError, match=r"\(2, 3, 5\) and \(3, 4\)"):
        attention(q, k, v, backend(MASK[:, :4]))
    with pytest.raises(DTypeError, match=r"True may attend.*not int64"):
        attention(q, k, v, backend(MASK.astype(int)))
    with pytest.raises(DTypeError, match="takes tensors and numbers, not list"):
        attention(Q.tolist(), k, v)
