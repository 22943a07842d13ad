"""Random compositions of operations have PyTorch's values, gradients and second derivatives."""

from functools import partial
from random import Random

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import ShapeError

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)
functional = torch.nn.functional


def key_of(draw, shape):
    """A key of slices, some of which go backwards, of new axes, numbers and arrays of indexes that repeat."""
    key = []
    for size in shape:
        kinds = [
            slice(None),
            slice(None, None, -1),
            slice(None, None, -2),
            slice(draw.randint(-2, 1), None, draw.choice([1, 2])),
            draw.randrange(-size, size),
            np.array([draw.randrange(-size, size) for _ in range(3)]),
        ]
        key.append(draw.choice(kinds))
        if draw.random() < 0.2:
            key.append(None)
    return tuple(key)


def indexed(draw, x, theirs):
    """A part of both; PyTorch, whose slices have no negative steps, is told the places of the numbers."""
    key = key_of(draw, x.shape)
    places = np.arange(x.size).reshape(x.shape)[key]
    return x[key], theirs.reshape(-1)[torch.tensor(np.array(places))]


def chosen(draw, x, theirs):
    mask = np.array([draw.random() < 0.7 for _ in range(x.size)]).reshape(x.shape)
    return mt.where(mt.tensor(mask), x, x * x), torch.where(torch.tensor(mask), theirs, theirs * theirs)


def joined(draw, x, theirs):
    axis = draw.randrange(x.ndim)
    return mt.concat([x, x * 2.0, x], axis), torch.cat([theirs, theirs * 2.0, theirs], axis)


def split(draw, x, theirs):
    axis, size = draw.randrange(x.ndim), draw.randint(1, 2)
    return mt.split(x, size, axis)[-1], torch.split(theirs, size, axis)[-1]


def along(ours, of_torch, draw, x, theirs):
    axis = draw.randrange(-x.ndim, x.ndim)
    return ours(x, axis), of_torch(theirs, axis)


def product(draw, x, theirs):
    return (x @ x.mT, theirs @ theirs.mT) if x.ndim > 1 else (x @ x, theirs @ theirs)


def attended(draw, x, theirs):
    while x.ndim < 2:
        x, theirs = x.unsqueeze(0), theirs.unsqueeze(0)
    ours = mt.scaled_dot_product_attention(x, x, x * 0.5, is_causal=True)
    return ours, functional.scaled_dot_product_attention(theirs, theirs, theirs * 0.5, is_causal=True)


def each(ours, of_torch, draw, x, theirs):
    return ours(x), of_torch(theirs)


OF_ONE = [
    indexed,
    indexed,
    chosen,
    joined,
    split,
    product,
    attended,
    partial(along, mt.softmax, torch.softmax),
    partial(along, mt.logsumexp, torch.logsumexp),
    partial(along, mt.sum, torch.sum),
    partial(along, mt.max, torch.amax),
    partial(along, mt.cumsum, torch.cumsum),
    partial(each, mt.layernorm, lambda x: functional.layer_norm(x, x.shape[-1:])),
    partial(each, mt.tanh, torch.tanh),
    partial(each, mt.gelu, functional.gelu),
    partial(each, lambda x: x.detach() * x, lambda x: x.detach() * x),
    partial(each, lambda x: mt.exp(x.clip(-2.0, 2.0)), lambda x: torch.exp(torch.clip(x, -2.0, 2.0))),
    partial(each, lambda x: x.T.reshape(-1), lambda x: x.permute(*reversed(range(x.ndim))).reshape(-1)),
]
OF_TWO = [
    lambda x, y: x + y,
    lambda x, y: x * y,
    lambda x, y: x - y * 0.5,
    lambda x, y: x / (y * y + 1.0),
]


def composed(seed):
    """A number made of three leaves by up to twelve operations, here and in PyTorch, and the leaves of both."""
    draw, numbers = Random(seed), np.random.default_rng(seed)
    pairs = []
    for shape in [(3, 1), (2, 1, 4), (4,)]:
        array = numbers.uniform(0.3, 1.5, shape) * numbers.choice([-1, 1], shape)
        pairs.append((mt.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)))
    leaves = list(pairs)
    for _ in range(draw.randint(5, 12)):
        (x, theirs), (y, others) = draw.choice(pairs), draw.choice(pairs)
        if draw.random() < 0.3:
            operation = draw.choice(OF_TWO)
            try:
                made = operation(x, y), operation(theirs, others)
            except ShapeError:
                continue
        else:
            made = draw.choice(OF_ONE)(draw, x, theirs)
        if made[0].ndim and 0 < made[0].size < 500 and made[1].abs().max() < 50:
            pairs.append(made)
    total, of_torch = mt.tensor(0.0, dtype=mt.float64), torch.tensor(0.0, dtype=torch.float64)
    for ours, theirs in pairs[3:]:
        weights = numbers.uniform(0.5, 1.5, ours.shape)
        total, of_torch = total + (ours * weights).sum(), of_torch + (theirs * torch.tensor(weights)).sum()
    return total, of_torch, leaves


def compare(ours, theirs):
    """A gradient that is None is one of zeros."""
    if ours is None or theirs is None:
        assert ours is None or not ours.to_numpy().any()
        assert theirs is None or not theirs.any()
        return False
    np.testing.assert_allclose(ours.to_numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-8)
    return True


@pytest.mark.parametrize("seed", range(0, 120, 20))
def test_compositions_have_the_gradients_and_second_derivatives_of_pytorch(seed):
    for number in range(seed, seed + 20):
        total, of_torch, leaves = composed(number)
        np.testing.assert_allclose(total.item(), of_torch.item(), rtol=1e-9)
        ours, theirs = zip(*leaves, strict=True)
        found = mt.grad(total, ours, create_graph=True, allow_unused=True)
        expected = torch.autograd.grad(of_torch, theirs, create_graph=True, allow_unused=True)
        again, again_of_torch = mt.tensor(0.0, dtype=mt.float64), torch.tensor(0.0, dtype=torch.float64)
        for grad, wanted in zip(found, expected, strict=True):
            if compare(grad, wanted):
                again, again_of_torch = again + mt.sin(grad).sum(), again_of_torch + torch.sin(wanted).sum()
        if again.requires_grad and again_of_torch.requires_grad:
            second = mt.grad(again, ours, allow_unused=True)
            for grad, wanted in zip(
                second, torch.autograd.grad(again_of_torch, theirs, allow_unused=True), strict=True
            ):
                compare(grad, wanted)
