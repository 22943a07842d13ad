"""Derivatives of first, second and third order, beside PyTorch's."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)

RANDOM = np.random.default_rng(0)
WEIGHT = RANDOM.standard_normal((3, 4))
POINT = RANDOM.standard_normal(3)


def f(of, x, weight):
    """A function with mixed second and third derivatives, in the words of either library."""
    hidden = of.tanh(x @ weight)
    return (of.exp(hidden) * of.sigmoid(hidden.sum()) + hidden * hidden).sum() / (1.0 + (x * x).sum())


def ours(x):
    return f(mt, x, mt.tensor(WEIGHT))


def theirs(x):
    return f(torch, x, torch.tensor(WEIGHT))


def test_the_gradient_and_the_hessian_are_pytorchs():
    point = mt.tensor(POINT)
    expected = torch.autograd.functional.hessian(theirs, torch.tensor(POINT))
    rows = [mt.grad(lambda x, row=row: mt.grad(ours)(x)[row])(point).tolist() for row in range(3)]
    np.testing.assert_allclose(rows, expected.numpy(), rtol=1e-10)
    np.testing.assert_allclose(
        mt.grad(ours)(point).to_numpy(), torch.func.grad(theirs)(torch.tensor(POINT)).numpy(), rtol=1e-12
    )


def test_third_derivatives_are_pytorchs():
    def third(grad, function):
        return grad(lambda x: grad(lambda x: grad(function)(x).sum())(x).sum())

    expected = third(torch.func.grad, theirs)(torch.tensor(POINT))
    np.testing.assert_allclose(third(mt.grad, ours)(mt.tensor(POINT)).to_numpy(), expected.numpy(), rtol=1e-9)


def test_create_graph_and_accumulation_are_pytorchs():
    """A penalty on the gradient, twice, on top of the loss."""
    mine = mt.tensor(POINT, requires_grad=True)
    his = torch.tensor(POINT, requires_grad=True)
    for x, function, of in ((mine, ours, mt), (his, theirs, torch.autograd)):
        for _ in range(2):
            y = function(x)
            (slope,) = of.grad(y, x, create_graph=True)
            (y + (slope * slope).sum()).backward()
    np.testing.assert_allclose(mine.grad.to_numpy(), his.grad.numpy(), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_classifiers_gradients_are_pytorchs(dtype):
    mine = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype=dtype)
    his = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).to(getattr(torch, dtype))
    his.load_state_dict(mt.convert_state_dict(mine.state_dict(), "torch"))
    x, labels = RANDOM.standard_normal((16, 5)).astype(dtype), RANDOM.integers(0, 3, 16)
    loss = mt.cross_entropy(mine(mt.tensor(x, dtype=dtype)), mt.tensor(labels))
    loss.backward()
    expected = torch.nn.functional.cross_entropy(his(torch.tensor(x)), torch.tensor(labels))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for ours, theirs in zip(mine.parameters(), his.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad.to_numpy(), theirs.grad.numpy(), rtol=1e-5, atol=1e-7)
