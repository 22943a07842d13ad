"""Losses and convolution beside PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")

from tests.torch_oracle import numbers, same_as_torch  # noqa: E402 # which needs torch

F = torch.nn.functional
SIZE = st.integers(1, 5)
REDUCTION = st.sampled_from(["mean", "sum", "none"])
NEAR = {"rtol": 1e-7, "atol": 1e-9}


def with_margin(loss):
    return lambda *tensors, **options: loss(*tensors, 0.7, **options)


@settings(max_examples=12, deadline=None)
@given(SIZE, SIZE, REDUCTION, st.sampled_from([0.1, 1, 20]))
def test_losses_of_pairs(n, d, reduction, scale):
    how = {"reduction": reduction}
    x, y, z = numbers(0, n, d) * scale, numbers(1, n, d), numbers(2, n, d)
    p, t = np.random.default_rng(3).uniform(0.01, 0.99, (2, n, d))
    pairs = [
        (mt.mse_loss, F.mse_loss, x, y),
        (mt.l1_loss, F.l1_loss, x, y),
        (mt.binary_cross_entropy, F.binary_cross_entropy, p, t),
        (mt.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits, x, t),
        (with_margin(mt.triplet_loss), with_margin(F.triplet_margin_loss), x, y, z),
    ]
    for ours, theirs, *arrays in pairs:
        same_as_torch(lambda *xs, f=ours: f(*xs, **how), lambda *xs, f=theirs: f(*xs, **how), *arrays, **NEAR)


@settings(max_examples=20, deadline=None)
@given(SIZE, SIZE, SIZE, REDUCTION, st.sampled_from([0.0, 0.1, 1.0]), st.booleans())
def test_cross_entropy_with_the_classes_last(n, m, classes, reduction, smoothing, ignoring):
    target = np.random.default_rng(1).integers(0, classes, (n, m))
    if ignoring:
        target[0, : m - 1] = -100  # not all: the mean over none is NaN in PyTorch
    how = {"reduction": reduction, "label_smoothing": smoothing}
    same_as_torch(
        lambda x: mt.cross_entropy(x, target, **how),
        lambda x: F.cross_entropy(x.movedim(-1, 1), torch.tensor(target), **how),
        numbers(0, n, m, classes) * 3,
        **NEAR,
    )


@settings(max_examples=12, deadline=None)
@given(SIZE, SIZE, st.integers(2, 4), st.booleans())
def test_info_nce(n, more, d, symmetric):
    more = 0 if symmetric else more - 1

    def theirs(q, k):
        logits = F.normalize(q) @ F.normalize(k).T / 0.2
        target = torch.arange(n)
        loss = F.cross_entropy(logits, target)
        return (loss + F.cross_entropy(logits.T, target)) / 2 if symmetric else loss

    ours = lambda q, k: mt.info_nce(q, k, 0.2, symmetric=symmetric)  # noqa: E731 # as short as its twin
    same_as_torch(ours, theirs, numbers(0, n, d), numbers(1, n + more, d), **NEAR)


def test_probabilities_of_0_and_1_cost_what_they_cost_in_pytorch():
    p, t = np.array([0.0, 0, 1, 1, 0.5]), np.array([0.0, 1, 0, 1, 0.25])
    x, twin = mt.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    ours, theirs = mt.binary_cross_entropy(x, t), F.binary_cross_entropy(twin, torch.tensor(t))
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(x.grad.to_numpy(), twin.grad.numpy(), rtol=1e-7)  # its 1e-12 is one of float32


@settings(max_examples=15, deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 7),
    st.integers(0, 3),
    st.sampled_from(["number", "same"]),
)
def test_convolution(sizes, more, kind):
    n, groups, width, outs, taps, stride, dilation = sizes
    if kind == "same":  # PyTorch warns of a copy where one end has more padding
        taps, stride = taps // 2 * 2 + 1, 1
    padding = more if kind == "number" else "same"
    x = numbers(0, n, groups * width, dilation * (taps - 1) + 1 + more)
    weight, bias = numbers(1, groups * outs, width, taps), numbers(2, groups * outs)
    options = (stride, padding, dilation, groups)
    same_as_torch(
        lambda *xs: mt.conv1d(*xs, *options) ** 2, lambda *xs: F.conv1d(*xs, *options) ** 2, x, weight, bias, **NEAR
    )
