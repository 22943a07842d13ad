"""Every operation gives in a run what it gives by itself, on the numbers that there are then."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import RecordError
from msgflow.tensor import rules
from msgflow.tensor.operations import Operation
from msgflow.tensor.runtime.fusing import POINTWISE, ROWWISE
from tests.recorded import recorded
from tests.tensor_backends import backend  # noqa: F401 # a fixture

FLOATS = {
    "arithmetic": lambda x, y: (x + y) * 2 - x / (y * y + 1) + -x + (x // (y * y + 1)) + x % 3 + abs(x) ** 2,
    "reflected": lambda x, y: 2 - x + 1 / (x * x + 1) + 3 * y,
    "functions": lambda x, y: mt.exp(x).log() + mt.sin(x) * mt.cos(y) + mt.expm1(x) + mt.log1p(x * x) + mt.erf(x),
    "roots": lambda x, y: mt.sqrt(x * x) + mt.rsqrt(x * x + 1) + mt.square(y),
    "rounding": lambda x, y: mt.floor(x) + mt.ceil(y) + mt.round(x) + mt.sign(y),
    "activations": lambda x, y: mt.relu(x) + mt.sigmoid(y) + mt.tanh(x) + mt.softplus(y) + mt.leaky_relu(x),
    "gated": lambda x, y: mt.silu(x) * mt.gelu(y) + mt.gelu(x, approximate="tanh"),
    "choices": lambda x, y: mt.where(x > y, x, 0.0) + mt.maximum(x, y) + mt.minimum(x, 0.5) + mt.clip(x, -1.0, 1.0),
    "a comparison": lambda x, y: (x > y) & (x <= 1.0) | (x == y),
    "logic": lambda x, y: mt.logical_and(mt.isfinite(x), mt.logical_not(mt.isnan(y))),
    "reductions": lambda x, y: x.sum(axis=0) + y.mean() + x.max(axis=1, keepdims=True) + x.var(axis=-1) + mt.std(y),
    "more reductions": lambda x, y: mt.logsumexp(x, axis=0) + mt.prod(y, axis=1) + mt.cumsum(x, axis=0),
    "truths": lambda x, y: mt.any(x > 1.0, axis=0) & mt.all(y > -3.0),
    "places": lambda x, y: mt.argmax(x, axis=0) + mt.argmin(y, axis=1),
    "products": lambda x, y: x @ y + mt.matmul(x, y, transpose_a=True, is_relu=True) + x @ y[0],
    "a bias": lambda x, y: mt.relu(x @ y + y[1]),
    "shapes": lambda x, y: x.reshape(2, 8).permute(1, 0).reshape(4, 4) + y.T.reshape(16)[::2].reshape(2, 4)[0],
    "parts": lambda x, y: mt.concat([x[:2], y[2:]], axis=0) + mt.stack([x[0], y[1], x[2], y[3]], axis=1),
    "splits": lambda x, y: mt.split(x, 2, axis=1)[1] * mt.chunk(y, 2, axis=1)[0],
    "padding": lambda x, y: mt.pad(x, ((1, 1), (0, 0))) + mt.tril(y).sum() + mt.triu(x).sum(),
    "indexes": lambda x, y: mt.take(x, mt.argmax(y, axis=0), axis=0) + x[mt.argmin(y, axis=0), 1] + x[[0, 2, 1, 3]],
    "gathered": lambda x, y: mt.gather(x, 1, mt.argsort(y)) + mt.sort(x).values + mt.topk(y, 1).values,
    "rows": lambda x, y: mt.softmax(x) + mt.log_softmax(y, axis=0) + mt.layernorm(x, y[0], y[1]) + mt.rmsnorm(y, x[0]),
    "directions": lambda x, y: mt.normalize(x) + mt.cosine_similarity(x, y),
    "attention": lambda x, y: mt.scaled_dot_product_attention(x, y, x, is_causal=True),
    "masked attention": lambda x, y: mt.scaled_dot_product_attention(x, y, x, mask=x > 0.0),
    "losses": lambda x, y: mt.mse_loss(x, y) + mt.l1_loss(x, y) + mt.cross_entropy(x, mt.argmax(y, axis=1)),
    "more losses": lambda x, y: mt.binary_cross_entropy_with_logits(x, mt.sigmoid(y)) + mt.triplet_loss(x, y, x * y),
    "contrast": lambda x, y: mt.info_nce(x, y),
    "convolution": lambda x, y: mt.conv1d(x.reshape(1, 4, 4), y.reshape(4, 4, 1), y[0], padding=1),
    "types": lambda x, y: x.to(dtype=mt.float64) + y.to(dtype=mt.int64) + (x > 0).to(dtype=mt.float32),
    "detached": lambda x, y: x.detach() * (x + y).detach(),
    "constants": lambda x, y: x + mt.tril(mt.ones_like(x)) * 2.0,
    "classes": lambda x, y: mt.one_hot(mt.argmax(x, axis=0), 4) + y,
    "a square of itself": lambda x, y: (x + y) * (x + y) + (x * x) * (x * x),
    "no axes": lambda x, y: x.sum() * 2.0 + y[0, 0],
    "no numbers": lambda x, y: mt.exp(x[:0]) + y[:0],
}


def numbers(seed, shape=(4, 4), dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", FLOATS)
def test_a_run_gives_what_the_operations_give_on_the_numbers_of_now(backend, name):
    x, y = backend(numbers(0)), backend(numbers(1))
    runtime, out = recorded(FLOATS[name], x, y)
    for seed in (2, 4):
        x.from_numpy(numbers(seed))
        y.from_numpy(numbers(seed + 1))
        runtime.run()
        expected = FLOATS[name](x, y)
        assert (out.shape, out.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(out.to_numpy(), expected.to_numpy(), rtol=1e-5, atol=1e-6)


HALVES = {
    "sums": lambda x, y: x + y,
    "products": lambda x, y: mt.relu(x @ y + y[0]),
    "rows": lambda x, y: mt.layernorm(x + y) * y,
    "moves": lambda x, y: mt.concat([x[:2], y.T[2:]], axis=0).reshape(2, 8),
    "choices": lambda x, y: mt.where(x > y, x, 0.0),
    "attention": lambda x, y: mt.scaled_dot_product_attention(x, y, x),
    "types": lambda x, y: (x.to(dtype=mt.float32) * 2).to(dtype=x.dtype) + y.to(dtype=mt.float32),
    "gelu": lambda x, y: mt.gelu(x) * y,
    "sums of rows": lambda x, y: (x * y).sum(axis=1),
}


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("dtype", [mt.float16, mt.bfloat16])
def test_16_bit_floats_are_rounded_at_most_as_often_as_by_the_operations_themselves(name, dtype):
    """The oracle computes in float64; what is fused is rounded once, so that it may be nearer to it."""
    x, y = (mt.tensor(numbers(seed)).to(dtype=dtype) for seed in (0, 1))
    runtime, out = recorded(HALVES[name], x, y)
    x.from_numpy(numbers(2))
    runtime.run()
    exact = HALVES[name](x.to(dtype=mt.float64), y.to(dtype=mt.float64)).to_numpy()
    eager = HALVES[name](x, y)
    assert out.dtype is eager.dtype

    def error(tensor):
        return np.abs(tensor.to_numpy() - exact).max()

    assert error(out) <= error(eager) * 1.01


WHOLE = {
    "arithmetic": lambda x, y: x * 3 + y // 2 - x % 5,
    "floats of them": lambda x, y: x / 2 + mt.exp(y * 0.25),
    "bits": lambda x, y: (x & y) | (x ^ 3),
    "sums": lambda x, y: x.sum(axis=0) + y.max(),
    "indexes": lambda x, y: mt.take(x, abs(y) % 4, axis=0),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8"])
def test_whole_numbers_are_computed_with_as_by_the_operations_themselves(name, dtype):
    x, y = (mt.tensor(np.random.default_rng(seed).integers(0, 9, (4, 4)).astype(dtype)) for seed in (0, 1))
    runtime, out = recorded(WHOLE[name], x, y)
    x.from_numpy(np.random.default_rng(2).integers(0, 9, (4, 4)))
    runtime.run()
    expected = WHOLE[name](x, y)
    assert out.dtype is expected.dtype
    np.testing.assert_array_equal(out.to_numpy(), expected.to_numpy())


RULES = [importlib.import_module(f"{rules.__name__}.{module.name}") for module in pkgutil.iter_modules(rules.__path__)]
OPERATIONS = {one.name: one for module in RULES for one in vars(module).values() if isinstance(one, Operation)}


@pytest.mark.parametrize("name", sorted(POINTWISE | ROWWISE))
def test_an_operation_that_may_be_fused_can_write_over_what_it_reads(name):
    operation = OPERATIONS[name]
    x, y = numbers(0), numbers(1)
    arrays = {"maximum": (x, y), "minimum": (x, y), "where": (x, y, x > 0)}.get(name, (x,))
    arrays = (x, y) if name in ("add", "subtract", "multiply", "divide", "power") else arrays
    every = {"axis": 1, "eps": 1e-5, "low": -1.0, "high": 1.0, "slope": 0.1}
    settings = {key: value for key, value in every.items() if key in inspect.signature(operation.compute).parameters}
    with np.errstate(all="ignore"):
        expected = operation.compute(np, *arrays, **settings)
        if operation.in_place:
            operation.compute(np, *arrays, out=x, **settings)
            np.testing.assert_array_equal(x, expected)
    assert expected.shape == x.shape


def test_dropout_draws_anew_in_each_run():
    mt.manual_seed(0)
    x = mt.ones(1000)
    runtime, out = recorded(lambda x: mt.dropout(x, 0.5), x)
    draws = []
    for _ in range(2):
        runtime.run()
        draws.append(out.to_numpy())
    assert set(np.unique(draws)) == {0.0, 2.0} and (draws[0] != draws[1]).any()


def test_an_index_that_is_out_of_range_in_a_run_is_told():
    ids = mt.zeros(2, dtype=mt.int64)
    table = mt.ones((3, 2))
    runtime, _ = recorded(lambda ids: mt.embedding(table, ids), ids)
    ids.from_numpy([0, 3])
    with pytest.raises(RecordError, match=r"take.*index 3 is out of range for an axis of size 3"):
        runtime.run()


def test_a_mask_is_an_index_only_where_it_stays_what_it_was():
    x, mask = mt.tensor([1.0, -1.0, 2.0]), mt.tensor([True, False, True])
    with pytest.raises(RecordError, match=r"mt\.where"):
        recorded(lambda x: x[x > 0] * 2.0, x)
    runtime, out = recorded(lambda x: x[mask] * 2.0, x)
    x.from_numpy([3.0, 4.0, 5.0])
    runtime.run()
    assert out.tolist() == [6.0, 10.0]
    mask.from_numpy([True, True, True])
    with pytest.raises(RecordError, match="looked at"):
        runtime.run()
