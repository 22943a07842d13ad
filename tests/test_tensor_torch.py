"""Numbers, types and gradients of operations, compared with PyTorch on shapes of any kind."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import msgflow.tensor as mt
from msgflow.errors import DTypeError

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)

SOME = settings(max_examples=25, deadline=None)
SIZES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
SEEDS = st.integers(0, 2**31)


def drawn(shape, seed, dtype="float64", ties=False):
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-2, 3, shape) if ties else rng.uniform(-2.5, 2.5, shape)
    return np.asarray(numbers, dtype)


def both(arrays):
    return [mt.tensor(array, requires_grad=True) for array in arrays], [
        torch.tensor(array, requires_grad=True) for array in arrays
    ]


def assert_same(ours, theirs, arrays, tolerance=1e-10):
    """Both functions give the same numbers and gradients."""
    xs, ts = both(arrays)
    y, t = ours(*xs), theirs(*ts)
    np.testing.assert_allclose(y.to_numpy(), t.detach().numpy(), rtol=tolerance, atol=tolerance)
    assert y.shape == tuple(t.shape)
    weights = drawn(y.shape, 1, str(y.dtype).removeprefix("mt."))
    y.backward(mt.tensor(weights))
    t.backward(torch.tensor(weights))
    for x, t in zip(xs, ts, strict=True):
        expected = np.zeros(x.shape) if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(x.grad.to_numpy(), expected, rtol=tolerance, atol=tolerance)


UNARY = {
    "exp": (mt.exp, torch.exp),
    "expm1": (mt.expm1, torch.expm1),
    "sin": (mt.sin, torch.sin),
    "cos": (mt.cos, torch.cos),
    "abs": (mt.abs, torch.abs),
    "sign": (mt.sign, torch.sign),
    "floor": (mt.floor, torch.floor),
    "round": (mt.round, torch.round),
    "square": (mt.square, torch.square),
    "erf": (mt.erf, torch.erf),
    "tanh": (mt.tanh, torch.tanh),
    "sigmoid": (mt.sigmoid, torch.sigmoid),
    "relu": (mt.relu, torch.relu),
    "silu": (mt.silu, torch.nn.functional.silu),
    "gelu": (mt.gelu, torch.nn.functional.gelu),
    "gelu_tanh": (lambda x: mt.gelu(x, "tanh"), lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
    "softplus": (mt.softplus, lambda x: torch.nn.functional.softplus(x, threshold=1000)),
    "leaky_relu": (mt.leaky_relu, torch.nn.functional.leaky_relu),
    "clip": (lambda x: mt.clip(x, -1.0, 1), lambda x: torch.clamp(x, -1.0, 1)),
    "log": (lambda x: mt.log(abs(x) + 1), lambda x: torch.log(abs(x) + 1)),
    "log1p": (lambda x: mt.log1p(abs(x)), lambda x: torch.log1p(abs(x))),
    "sqrt": (lambda x: mt.sqrt(x + 3), lambda x: torch.sqrt(x + 3)),
    "rsqrt": (lambda x: mt.rsqrt(x + 3), lambda x: torch.rsqrt(x + 3)),
    "square by power": (lambda x: x**2, lambda x: x**2),
    "no power": (lambda x: x**0, lambda x: x**0),
    "exponent": (lambda x: 1.5**x, lambda x: 1.5**x),
}


@SOME
@given(name=st.sampled_from(sorted(UNARY)), shape=SIZES, seed=SEEDS, ties=st.booleans())
def test_functions_of_one_number(name, shape, seed, ties):
    assert_same(*UNARY[name], [drawn(shape, seed, ties=ties)])


BINARY = {
    "add": (mt.add, torch.add),
    "subtract": (mt.subtract, torch.subtract),
    "multiply": (mt.multiply, torch.multiply),
    "divide": (lambda x, y: x / (abs(y) + 1), lambda x, y: x / (abs(y) + 1)),
    "remainder": (lambda x, y: x % (abs(y) + 1.1), lambda x, y: x % (abs(y) + 1.1)),
    "power": (lambda x, y: abs(x) ** abs(y), lambda x, y: abs(x) ** abs(y)),
    "maximum": (mt.maximum, torch.maximum),
    "minimum": (mt.minimum, torch.minimum),
    "where": (lambda x, y: mt.where(x > y, x, y * 2), lambda x, y: torch.where(x > y, x, y * 2)),
}


@SOME
@given(name=st.sampled_from(sorted(BINARY)), shape=SIZES, data=st.data(), seed=SEEDS, ties=st.booleans())
def test_operands_that_broadcast(name, shape, data, seed, ties):
    """Ties are frequent among whole numbers, and so are zeros."""
    ones = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    other = tuple(1 if one else size for one, size in zip(ones, shape, strict=True))
    other = other[data.draw(st.integers(0, len(shape))) :]
    shapes = (shape, other) if data.draw(st.booleans()) else (other, shape)
    assert_same(*BINARY[name], [drawn(shape, seed + place, ties=ties) for place, shape in enumerate(shapes)])


REDUCTIONS = {
    "sum": (lambda x, axis, keep: mt.sum(x, axis, keep), lambda x, axis, keep: torch.sum(x, axis, keep)),
    "mean": (lambda x, axis, keep: mt.mean(x, axis, keep), lambda x, axis, keep: torch.mean(x, axis, keep)),
    "max": (lambda x, axis, keep: mt.max(x, axis, keep), lambda x, axis, keep: torch.amax(x, axis, keep)),
    "min": (lambda x, axis, keep: mt.min(x, axis, keep), lambda x, axis, keep: torch.amin(x, axis, keep)),
    "var": (
        lambda x, axis, keep: mt.var(x, axis, keep, correction=0.5),
        lambda x, axis, keep: torch.var(x, axis, correction=0.5, keepdim=keep),
    ),
    "std": (
        lambda x, axis, keep: mt.std(x, axis, keep),
        lambda x, axis, keep: torch.std(x, axis, correction=0, keepdim=keep),
    ),
    "logsumexp": (
        lambda x, axis, keep: mt.logsumexp(x, axis, keep),
        lambda x, axis, keep: torch.logsumexp(x, axis, keep),
    ),
    "prod": (lambda x, axis, keep: mt.prod(x, axis[0], keep), lambda x, axis, keep: torch.prod(x, axis[0], keep)),
    "cumsum": (lambda x, axis, _: mt.cumsum(x, axis[0]), lambda x, axis, _: torch.cumsum(x, axis[0])),
}


@SOME
@given(
    name=st.sampled_from(sorted(REDUCTIONS)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    data=st.data(),
    seed=SEEDS,
    ties=st.booleans(),
)
def test_reductions_along_any_axes(name, shape, data, seed, ties):
    places = st.integers(-len(shape), len(shape) - 1)
    axis = data.draw(st.lists(places, min_size=1, max_size=len(shape), unique_by=lambda place: place % len(shape)))
    keep = data.draw(st.booleans())
    # What PyTorch gives for the deviation of equal numbers along the way to NaN, we give as 0.
    assume(name != "std" or not ties)
    ours, theirs = REDUCTIONS[name]
    assert_same(lambda x: ours(x, tuple(axis), keep), lambda x: theirs(x, axis, keep), [drawn(shape, seed, ties=ties)])


@SOME
@given(batch=SIZES, data=st.data(), sizes=st.tuples(*[st.integers(0, 3)] * 3), seed=SEEDS)
def test_products_of_matrices_vectors_and_batches(batch, data, sizes, seed):
    rows, inner, columns = sizes
    ones = data.draw(st.lists(st.booleans(), min_size=len(batch), max_size=len(batch)))
    other = tuple(1 if one else size for one, size in zip(ones, batch, strict=True))
    left = data.draw(st.sampled_from([(inner,), (rows, inner), (*batch, rows, inner)]))
    right = data.draw(st.sampled_from([(inner,), (inner, columns), (*other, inner, columns)]))
    assert_same(mt.matmul, torch.matmul, [drawn(left, seed), drawn(right, seed + 1)])


@SOME
@given(seed=SEEDS, name=st.sampled_from(["erf", "sigmoid", "tanh", "exp", "gelu", "silu", "softplus"]))
def test_float32_is_as_exact_as_pytorchs(seed, name):
    assert_same(*UNARY[name], [drawn((3, 50), seed, "float32")], tolerance=2e-6)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "abs", "sign", "clip", "gelu"])
def test_infinities_and_nans(name):
    numbers = np.array([np.inf, np.nan, 1.0])
    xs, ts = both([numbers])
    ours, theirs = UNARY[name]
    if name == "sign":  # PyTorch says that the sign of NaN is 0; numpy and the standard that it is NaN
        numbers, xs, ts = numbers[[0, 2]], *both([numbers[[0, 2]]])
    y, t = ours(xs[0]), theirs(ts[0])
    np.testing.assert_array_equal(y.to_numpy(), t.detach().numpy())


@pytest.mark.parametrize("name", ["relu", "maximum", "minimum"])
def test_gradients_at_nans(name):
    x, y = np.array([np.nan, 1.0, 2.0, -1.0]), np.array([1.0, np.nan, 2.0, 5.0])
    ours, theirs = UNARY[name] if name == "relu" else BINARY[name]
    assert_same(ours, theirs, [x] if name == "relu" else [x, y])


def test_every_float32_pattern_of_some_is_rounded_to_the_same_bfloat16():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 200_000, dtype="uint64").astype("uint32")
    near = np.arange(0x7F7F0000, 0x7F820000, 7, dtype="uint32")  # the largest, infinity and the first NaNs
    numbers = np.concatenate([bits, near, near | 0x80000000, np.arange(0, 200_000, 3, dtype="uint32")]).view("float32")
    ours = mt.tensor(numbers).to(mt.bfloat16).array
    theirs = torch.tensor(numbers).to(torch.bfloat16)
    known = ~np.isnan(numbers)
    assert np.array_equal(ours[known], theirs.view(torch.uint16).numpy()[known])
    again = mt.tensor(numbers[~known]).to(mt.bfloat16).to_numpy()
    assert np.isnan(again).all() and theirs[torch.tensor(~known)].isnan().all()


def test_bfloat16_results_are_pytorchs():
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((64, 64)).astype("float32") for _ in range(2))
    ours = [mt.tensor(array).to(mt.bfloat16) for array in (x, y)]
    theirs = [torch.tensor(array).to(torch.bfloat16) for array in (x, y)]
    for function, other in [
        (mt.add, torch.add),
        (mt.multiply, torch.multiply),
        (mt.divide, torch.divide),
        (lambda x, y: mt.exp(x) - y * 1.5, lambda x, y: torch.exp(x) - y * 1.5),
    ]:
        np.testing.assert_array_equal(function(*ours).to_numpy(), other(*theirs).float().numpy())
    # PyTorch may round partial sums of products; a unit in the last place of bfloat16 is 2 ** -8.
    product = (theirs[0] @ theirs[1]).float().numpy()
    np.testing.assert_allclose((ours[0] @ ours[1]).to_numpy(), product, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"]
)
def test_dlpack_to_and_from_pytorch(dtype):
    theirs = torch.tensor([[1, 0], [1, 1]]).to(getattr(torch, dtype))
    if dtype == "bfloat16":
        with pytest.raises(DTypeError, match="from bfloat16 to float32"):
            mt.from_dlpack(theirs)
        return
    ours = mt.from_dlpack(theirs)
    assert ours.dtype.name == dtype and ours.tolist() == theirs.tolist()
    assert ours.array.ctypes.data == theirs.data_ptr()
    back = torch.from_dlpack(ours)
    assert back.dtype == theirs.dtype and back.data_ptr() == theirs.data_ptr()
    assert mt.tensor(theirs).dtype.name == dtype


@pytest.mark.parametrize("shape", [(300, 200), (20, 30, 5)])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("glorot_uniform", lambda t: torch.nn.init.xavier_uniform_(t)),
        ("glorot_normal", lambda t: torch.nn.init.xavier_normal_(t)),
        ("he_uniform", lambda t: torch.nn.init.kaiming_uniform_(t, nonlinearity="relu")),
        ("he_normal", lambda t: torch.nn.init.kaiming_normal_(t, nonlinearity="relu")),
    ],
)
def test_initialisers_have_pytorchs_bounds_and_deviations(shape, name, theirs):
    mt.manual_seed(0)
    torch.manual_seed(0)
    ours, expected = getattr(mt, name)(shape).to_numpy(), theirs(torch.empty(shape)).numpy()
    # The standard error of a deviation over 3000 numbers is 1.3 %.
    assert ours.std() == pytest.approx(expected.std(), rel=0.06)
    if name.endswith("uniform"):
        assert abs(ours).max() == pytest.approx(abs(expected).max(), rel=0.01)


def test_second_derivatives():
    x = drawn((3, 4), 5)
    ours, theirs = mt.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = (mt.gelu(ours) * mt.softplus(ours)).logsumexp(1).prod() * mt.var(ours)
    (first,) = mt.grad(y, [ours], create_graph=True)
    (second,) = mt.grad((first * first).sum(), [ours])
    functional = torch.nn.functional
    y = (functional.gelu(theirs) * functional.softplus(theirs)).logsumexp(1).prod() * torch.var(theirs, correction=0)
    (first,) = torch.autograd.grad(y, theirs, create_graph=True)
    (expected,) = torch.autograd.grad((first * first).sum(), theirs)
    np.testing.assert_allclose(second.to_numpy(), expected.numpy(), rtol=1e-9)
