"""Gradients and second derivatives, compared with finite differences."""

import numpy as np

import msgflow.tensor as mt


def weights(shape, seed=0):
    """Something to make one number of several with, so that no two of them count the same."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def check_slopes(function, arrays, make, *, twice=True):
    """The gradients of a function of tensors at these arrays of float64, made tensors by `make`, are its slopes.

    With `twice`, also the slopes of its gradients. Central differences over 2e-5 are exact to about 1e-9 here.
    """

    def value(arrays):
        with mt.no_grad():
            out = function(*map(make, arrays)).to_numpy()
        return np.sum(out * weights(out.shape))

    def gradients(tensors, create_graph=False):
        out = function(*tensors)
        return mt.grad(
            (out * make(weights(out.shape))).sum(), tensors, create_graph=create_graph, allow_unused=create_graph
        )

    def slope(arrays):
        found = gradients([make(array, requires_grad=True) for array in arrays])
        return sum(np.sum(grad.to_numpy() * weights(grad.shape, 1)) for grad in found)

    tensors = [make(array, requires_grad=True) for array in arrays]
    for grad, expected in zip(gradients(tensors), differences(value, arrays), strict=True):
        np.testing.assert_allclose(grad.to_numpy(), expected, rtol=1e-5, atol=1e-7)
    if twice:
        first = sum((grad * make(weights(grad.shape, 1))).sum() for grad in gradients(tensors, create_graph=True))
        second = mt.grad(first, tensors, allow_unused=True) if first.requires_grad else [None] * len(tensors)
        for grad, expected in zip(second, differences(slope, arrays), strict=True):
            found = np.zeros_like(expected) if grad is None else grad.to_numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def differences(function, arrays, step=1e-5):
    """The slopes of a function of arrays that gives a number, in every number of every array."""
    for place, array in enumerate(arrays):
        slopes = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[index] += sign * step
                ends.append(function([*arrays[:place], moved, *arrays[place + 1 :]]))
            slopes[index] = (ends[0] - ends[1]) / (2 * step)
        yield slopes
