"""conv1d, against the sum of products written out."""

# ruff: noqa: F811 # a fixture is imported under the name that tests take it by

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow.errors import DTypeError, ShapeError
from tests.tensor_backends import backend, of_numpy, of_the_standard  # noqa: F401 # a fixture
from tests.tensor_slopes import check_slopes


def written_out(x, weight, stride, padding, dilation, groups):
    x = np.pad(x, [(0, 0), (0, 0), (padding, padding)])
    outs, width, taps = weight.shape
    positions = (x.shape[2] - dilation * (taps - 1) - 1) // stride + 1
    result = np.zeros((len(x), outs, positions))
    for n, out, position in np.ndindex(result.shape):
        first = out // (outs // groups) * width
        for channel, tap in np.ndindex(width, taps):
            result[n, out, position] += (
                weight[out, channel, tap] * x[n, first + channel, position * stride + tap * dilation]
            )
    return result


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 7, st.integers(0, 2), st.integers(0, 4)),
    st.sampled_from([of_numpy, of_the_standard]),
)
def test_any_convolution_is_the_sum_written_out(sizes, make):
    n, groups, width, outs, taps, stride, dilation, padding, more = sizes
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, groups * width, dilation * (taps - 1) + 1 + more))
    weight = rng.standard_normal((groups * outs, width, taps))
    out = mt.conv1d(make(x), make(weight), None, stride, padding, dilation, groups)
    np.testing.assert_allclose(out.to_numpy(), written_out(x, weight, stride, padding, dilation, groups), atol=1e-12)


X = np.random.default_rng(0).standard_normal((2, 4, 5))
WEIGHT = np.random.default_rng(1).standard_normal((2, 2, 2))
BIAS = np.array([0.3, -2])


@pytest.mark.parametrize("options", [(1, 0, 1), (2, 1, 1), (1, "same", 2)], ids=str)
def test_gradients_are_the_slopes_and_have_slopes_of_their_own(backend, options):
    check_slopes(
        lambda x, w, b: mt.conv1d(x, w, b, *options, groups=2) ** 2,
        [X[:1, :, :4], WEIGHT, BIAS],
        backend,
        twice=backend is of_numpy,
    )


def test_gradients_of_gradients_of_gradients_are_right_as_well(backend):
    """The three operations of convolution are each other's gradients, so that there is no end to them."""

    def gradient(of, *inputs):
        grads = mt.grad((of(*inputs) ** 2).sum(), inputs, create_graph=True)
        return mt.concat([grad.flatten() for grad in grads])

    def third(x, weight):
        return gradient(lambda *inputs: gradient(mt.conv1d, *inputs), x, weight)

    assert mt.gradcheck(third, [backend(X[:1, :1, :3]), backend(WEIGHT[:1, :1])])


def test_padding_same_keeps_the_length_with_one_more_zero_at_the_end(backend):
    x = backend(np.array([[[1.0, 2, 3]]]))
    weight = backend(np.array([[[1.0, 10]]]))
    assert mt.conv1d(x, weight, padding="same").tolist() == [[[21, 32, 3]]]
    assert mt.conv1d(x, weight, padding="valid").tolist() == mt.conv1d(x, weight).tolist() == [[[21, 32]]]


def test_one_input_needs_no_axis_for_several(backend):
    out = mt.conv1d(backend(X[0]), backend(WEIGHT), backend(BIAS), groups=2)
    every = mt.conv1d(backend(X), backend(WEIGHT), backend(BIAS), groups=2)
    assert out.shape == (2, 4) and mt.conv1d(backend(X[:0]), backend(WEIGHT), groups=2).shape == (0, 2, 4)
    np.testing.assert_allclose(out.to_numpy(), every.to_numpy()[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(mt.float16, 2**-10), (mt.bfloat16, 2**-7)], ids=["fp16", "bf16"])
def test_16_bit_floats_are_summed_in_float32(dtype, tolerance):
    x, weight = mt.ones((1, 500, 3), dtype), mt.ones((1, 500, 3), dtype)
    out = mt.conv1d(x, weight)
    assert out.dtype is dtype and out.item() == pytest.approx(1500, rel=tolerance)


def test_weights_may_be_parameters():
    weight, bias = nn.Parameter(mt.tensor(WEIGHT)), nn.Parameter(mt.tensor(BIAS))
    mt.conv1d(mt.tensor(X), weight, bias, groups=2).sum().backward()
    assert weight.grad.shape == (2, 2, 2) and bias.grad.tolist() == [8, 8]


def test_what_does_not_fit_is_named(backend):
    x, weight = backend(X), backend(WEIGHT)
    for wrong, message in (
        (lambda: mt.conv1d(x, weight), r"an input \(2, 4, 5\) and a kernel \(2, 2, 2\) do not go together in 1 groups"),
        (lambda: mt.conv1d(x, weight, groups=4), "do not go together in 4 groups"),
        (lambda: mt.conv1d(x, weight, groups=0), "do not go together in 0 groups"),
        (lambda: mt.conv1d(x[0, 0], weight), r"\(5,\) and \(2, 2, 2\) are not \(n, c, length\) and \(o, c, taps\)"),
        (lambda: mt.conv1d(x, weight[:, :, :0], groups=2), r"\(2, 2, 0\) are not \(n, c, length\) and \(o, c, taps\)"),
        (
            lambda: mt.conv1d(x, weight, dilation=7, padding=1, groups=2),
            r"reaches over 8 of the 7 that \(2, 4, 5\) has",
        ),
        (lambda: mt.conv1d(x, weight, backend(np.ones(3)), groups=2), r"\(2, 2, 4\) and \(3, 1\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            wrong()
    for options, message in (
        ({"stride": 0}, "stride is at least 1, not 0"),
        ({"dilation": -1}, "dilation is at least 1, not -1"),
        ({"padding": -1}, "padding is a number from 0, 'same' or 'valid', not -1"),
        ({"padding": "full"}, "not 'full'"),
        ({"padding": "same", "stride": 2}, "'same' is for a stride of 1, not of 2"),
    ):
        with pytest.raises(ValueError, match=message):
            mt.conv1d(x, weight, groups=2, **options)
    with pytest.raises(DTypeError, match="takes tensors and numbers, not list"):
        mt.conv1d(X.tolist(), weight)
