"""Our operations beside PyTorch's: values, gradients and second derivatives. Imported only where there is torch."""

import numpy as np
import torch

import msgflow.tensor as mt

torch.set_num_threads(1)


def same_as_torch(ours, theirs, *arrays, rtol=1e-9, atol=1e-11):
    """Both functions give the same of these arrays of float64, forwards, backwards and backwards again."""
    inputs = [mt.tensor(array, requires_grad=True) for array in arrays]
    twins = [torch.tensor(array, requires_grad=True) for array in arrays]

    def compare(found, expected):
        expected = np.zeros(()) if expected is None else expected.detach().numpy(force=True)
        found = np.zeros(()) if found is None else found.to_numpy()
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)

    out, expected = ours(*inputs), theirs(*twins)
    assert out.shape == tuple(expected.shape)
    compare(out, expected)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, out.shape)
    grads = mt.grad((out * mt.tensor(weights)).sum(), inputs, create_graph=True)
    twin_grads = torch.autograd.grad((expected * torch.tensor(weights)).sum(), twins, create_graph=True)
    for grad, twin in zip(grads, twin_grads, strict=True):
        compare(grad, twin)
    total, twin_total = (sum((grad * grad).sum() for grad in each) for each in (grads, twin_grads))
    if twin_total.requires_grad:
        again = mt.grad(total, inputs, allow_unused=True)
        twin_again = torch.autograd.grad(twin_total, twins, allow_unused=True)
        for grad, twin in zip(again, twin_again, strict=True):
            compare(grad, twin)


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)
