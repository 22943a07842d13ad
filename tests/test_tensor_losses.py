"""Losses, against their formulas in float64, written out for one number or row at a time."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import math

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError, TensorError
from tests.tensor_backends import backend, of_numpy  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes

RNG = np.random.default_rng(0)
X, Y, Z = RNG.standard_normal((3, 2, 3))
P, T = RNG.uniform(0.1, 0.9, (2, 2, 3))
CLASSES = np.array([2, 0])


def each(function, *arrays):
    return np.vectorize(function)(*arrays)


def nll(row, place, smoothing=0.0):
    logs = row - math.log(sum(math.exp(number) for number in row))
    return -(1 - smoothing) * logs[place] - smoothing * logs.mean()


def triplet(a, p, n):
    near, far = (math.sqrt(((a - other + 1e-6) ** 2).sum()) for other in (p, n))
    return max(near - far + 0.8, 0.0)


def cosines(x, y):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T


LOSSES = {
    "mse": (mt.mse_loss, [X, Y], (X - Y) ** 2),
    "l1": (mt.l1_loss, [X, Y], abs(X - Y)),
    "bce": (
        mt.binary_cross_entropy,
        [P, T],
        each(lambda p, t: -t * math.log(p) - (1 - t) * math.log(1 - p), P, T),
    ),
    "bce with logits": (
        mt.binary_cross_entropy_with_logits,
        [X * 3, T],
        each(lambda x, t: t * math.log1p(math.exp(-x)) + (1 - t) * math.log1p(math.exp(x)), X * 3, T),
    ),
    "triplet": (
        lambda a, p, n, **options: mt.triplet_loss(a, p, n, 0.8, **options),
        [X, Y, Z],
        [triplet(*rows) for rows in zip(X, Y, Z, strict=True)],
    ),
    "cross entropy": (
        lambda x, **options: mt.cross_entropy(x, CLASSES, **options),
        [X],
        [nll(X[0], 2), nll(X[1], 0)],
    ),
    "smoothed cross entropy": (
        lambda x, **options: mt.cross_entropy(x, CLASSES, label_smoothing=0.2, **options),
        [X],
        [nll(X[0], 2, 0.2), nll(X[1], 0, 0.2)],
    ),
    "info_nce": (
        lambda q, k, **options: mt.info_nce(q, k, 0.5, **options),
        [X, np.concatenate([Y, Z])],
        [nll(row * 2, place) for place, row in enumerate(cosines(X, np.concatenate([Y, Z])))],
    ),
    "symmetric info_nce": (
        lambda q, k, **options: mt.info_nce(q, k, 0.5, symmetric=True, **options),
        [X, Y],
        [(nll(cosines(X, Y)[i] * 2, i) + nll(cosines(Y, X)[i] * 2, i)) / 2 for i in range(2)],
    ),
}


@pytest.mark.parametrize(("loss", "arrays", "expected"), LOSSES.values(), ids=LOSSES)
def test_losses_are_their_formulas_and_their_gradients_the_slopes(backend, loss, arrays, expected):
    tensors = [backend(array) for array in arrays]
    for reduction, reduce in (("none", np.asarray), ("sum", np.sum), ("mean", np.mean)):
        np.testing.assert_allclose(loss(*tensors, reduction=reduction).to_numpy(), reduce(expected), rtol=1e-10)
    every = lambda *xs: loss(*xs, reduction="none") + loss(*xs) - loss(*xs, reduction="sum")  # noqa: E731 # a line
    check_slopes(every, arrays, backend, twice=backend is of_numpy)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_has_derivatives_of_any_order(backend, reduction):
    """Its gradient is an operation of its own, with gradients of its own."""

    def gradient(of, x):
        return mt.grad((of(x) ** 2).sum(), [x], create_graph=True)[0]

    def loss(x):
        return mt.cross_entropy(x, CLASSES, reduction=reduction, label_smoothing=0.1)

    assert mt.gradcheck(lambda x: gradient(lambda x: gradient(loss, x), x), backend(X))


def test_targets_that_are_ignored_count_nowhere(backend):
    logits, target = backend(np.stack([X, Y]), requires_grad=True), backend(np.array([[2, -100], [-100, 1]]))
    losses = mt.cross_entropy(logits, target, reduction="none")
    np.testing.assert_allclose(losses.to_numpy(), [[nll(X[0], 2), 0], [0, nll(Y[1], 1)]])
    mean = mt.cross_entropy(logits, target)
    assert mean.item() == pytest.approx((nll(X[0], 2) + nll(Y[1], 1)) / 2)
    mean.backward()
    assert not logits.grad[0, 1].to_numpy().any() and logits.grad[1, 1].to_numpy().all()
    check_slopes(lambda x: mt.cross_entropy(x, target, label_smoothing=0.1), [np.stack([X, Y])], backend)
    for dtype in (mt.int64, mt.uint8):  # which has no -100
        other = mt.cross_entropy(logits, backend(np.array([[2, 7], [7, 1]])).to(dtype=dtype), ignore_index=7)
        assert other.item() == pytest.approx(mean.item())
    every = backend(np.array([[2, 0], [0, 1]], "uint8"))
    check_slopes(lambda x: mt.cross_entropy(x, every), [np.stack([X, Y])], backend, twice=False)


def test_the_mean_over_no_loss_is_0_with_gradients_of_0(backend):
    logits = backend(X, requires_grad=True)
    loss = mt.cross_entropy(logits, backend(np.array([-100, -100])))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.to_numpy().any()
    nothing = backend(np.zeros((0, 3)), requires_grad=True)
    for loss in (mt.cross_entropy(nothing, backend(np.zeros(0, int))), mt.mse_loss(nothing, nothing * 1)):
        loss.backward()
        assert loss.item() == 0
    assert mt.l1_loss(nothing, nothing).item() == mt.binary_cross_entropy(nothing, nothing).item() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_overflow_nowhere(backend, dtype):
    """Warnings are errors in this suite."""
    x = backend(np.array([[1e4, -1e4, 0], [-1e4, -1e4, 1e4]], dtype), requires_grad=True)
    yes = backend(np.array([[1, 0, 1], [1, 1, 0]], dtype))
    losses = mt.binary_cross_entropy_with_logits(x, yes, reduction="none")
    assert losses.tolist() == [[0, 0, pytest.approx(math.log(2))], [1e4, 1e4, 1e4]]
    entropy = mt.cross_entropy(x, backend(np.array([0, 0])), reduction="none")
    assert entropy.tolist() == [0, 2e4]
    (losses.sum() + entropy.sum() + mt.info_nce(x, x * -1)).backward()
    assert np.isfinite(x.grad.to_numpy()).all()


def test_small_losses_keep_their_digits():
    """In float32, log(1 + exp(-20)) is lost if 1 is added, and so is what logits of 1e4 are apart."""
    x = mt.tensor([20.0, -20.0])
    losses = mt.binary_cross_entropy_with_logits(x, mt.tensor([1.0, 0.0]), reduction="none")
    np.testing.assert_allclose(losses.to_numpy(), math.exp(-20), rtol=1e-6)
    entropy = mt.cross_entropy(mt.tensor([[10000.0, 10002.0]]), [1])
    assert entropy.item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)


def test_probabilities_of_0_and_1_cost_100_at_most(backend):
    p = backend(np.array([0.0, 0, 1, 1, 1e-60]), requires_grad=True)
    losses = mt.binary_cross_entropy(p, backend(np.array([0.0, 1, 0, 1, 1])), reduction="none")
    assert losses.tolist() == [0, 100, 100, 0, 100]
    losses.sum().backward()
    assert np.isfinite(p.grad.to_numpy()).all()


def test_equal_vectors_have_gradients(backend):
    anchor = backend(X, requires_grad=True)
    mt.triplet_loss(anchor, backend(X), backend(X)).backward()
    assert np.isfinite(anchor.grad.to_numpy()).all()


def test_minus_infinity_among_the_logits_has_no_weight(backend):
    logits = backend(np.array([[0, -np.inf, 0]]), requires_grad=True)
    loss = mt.cross_entropy(logits, backend(np.array([2])))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2)) and logits.grad.tolist() == [[0.5, 0, -0.5]]


def test_targets_may_be_arrays_lists_integers_and_parameters():
    x = mt.tensor([1.0, 2.0], requires_grad=True)
    for target in ([1, 0], np.array([True, False]), mt.tensor([1, 0], mt.int8), nn.Parameter(mt.tensor([1.0, 0.0]))):
        loss = mt.mse_loss(x, target)
        assert loss.dtype is mt.float32 and loss.item() == 2
    assert mt.mse_loss(x, [1.5, 0.5]).dtype is mt.float32
    assert mt.mse_loss(x, np.array([1.5, 0.5])).dtype is mt.float64  # as in all arithmetic
    assert mt.cross_entropy(x, 1).item() == pytest.approx(math.log1p(math.exp(-1)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(mt.float16, 2**-10), (mt.bfloat16, 2**-7)], ids=["fp16", "bf16"])
def test_losses_of_16_bit_floats_are_exact_to_their_last_bits(dtype, tolerance):
    """Two units of the last of 11 or 8 bits: sums are kept in float32, whatever their length."""
    x, y = (mt.tensor(RNG.standard_normal((300, 40))).to(dtype=dtype) for _ in range(2))
    target = RNG.integers(0, 40, 300)
    for loss in (
        lambda x, y: mt.cross_entropy(x, target),
        mt.mse_loss,
        mt.binary_cross_entropy_with_logits,
        mt.l1_loss,
        lambda x, y: mt.triplet_loss(x, y, x * -1),
        mt.info_nce,
    ):
        out, exact = loss(x, y), loss(x.to(dtype=mt.float64), y.to(dtype=mt.float64))
        assert out.dtype is dtype and out.item() == pytest.approx(exact.item(), rel=tolerance)


REFUSED = {
    "mse": (lambda x: mt.mse_loss(x, x[0]), ShapeError, r"mse_loss: shapes \(2, 3\) and \(3,\) do not go together"),
    "bce": (lambda x: mt.binary_cross_entropy(x, x[:, :1]), ShapeError, r"\(2, 3\) and \(2, 1\)"),
    "triplet": (lambda x: mt.triplet_loss(x, x, x[:1]), ShapeError, r"triplet_loss.*\(2, 3\) and \(1, 3\)"),
    "cross entropy": (
        lambda x: mt.cross_entropy(x, np.zeros(3, int)),
        ShapeError,
        r"logits \(2, 3\) have a target \(2,\), not \(3,\)",
    ),
    "no classes": (lambda x: mt.cross_entropy(x[0, 0], 0), ShapeError, "no last axis with the classes"),
    "a class too many": (lambda x: mt.cross_entropy(x, [0, 3]), ShapeError, "class 3 is none of the 3"),
    "a class below 0": (lambda x: mt.cross_entropy(x, [-1, 0]), ShapeError, "class -1 is none of the 3"),
    "classes of floats": (lambda x: mt.cross_entropy(x, mt.zeros((2,))), DTypeError, "class indexes, whole.*float32"),
    "smoothing": (lambda x: mt.cross_entropy(x, [0, 1], label_smoothing=2), ValueError, "a share, from 0 to 1, not 2"),
    "reduction": (lambda x: mt.mse_loss(x, x, reduction="max"), ValueError, "'mean', 'sum' or 'none', not 'max'"),
    "no probability": (lambda x: mt.binary_cross_entropy(x * 99, x), TensorError, "probabilities are from 0 to 1"),
    "too few keys": (lambda x: mt.info_nce(x, x[:1]), ShapeError, r"\(2, 3\) and \(1, 3\) are not \(n, d\)"),
    "keys of another width": (lambda x: mt.info_nce(x, x[:, :2]), ShapeError, r"\(2, 3\) and \(2, 2\) are not"),
    "not symmetric": (
        lambda x: mt.info_nce(x[:1], x, symmetric=True),
        ShapeError,
        r"\(1, 3\) and \(2, 3\) are not of one length",
    ),
    "no tensor": (lambda x: mt.l1_loss([1.0], x), DTypeError, "takes tensors and numbers, not list"),
}


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(mt.tensor(X))
