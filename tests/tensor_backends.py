"""The array libraries that operations are tested on: numpy, the bare standard, and a GPU where there is one."""

from functools import cache

import numpy as np
import pytest

import msgflow.tensor as mt
from msgflow.errors import DeviceError


@cache
def gpu() -> str | None:
    """Why there is no GPU to test on; None where there is one."""
    try:
        mt.tensor(0.0, device="cuda")
    except DeviceError as reason:
        return str(reason)
    return None


def of_numpy(array, *, requires_grad=False):
    return mt.tensor(np.asarray(array), requires_grad=requires_grad)


def of_the_standard(array, *, requires_grad=False):
    xp = pytest.importorskip("array_api_strict", reason="pip install array-api-strict: arrays of the bare standard")
    return mt.tensor(xp.asarray(np.asarray(array)), requires_grad=requires_grad)


def of_cupy(array, *, requires_grad=False):
    if reason := gpu():
        pytest.skip(reason)
    return mt.tensor(np.asarray(array), device="cuda", requires_grad=requires_grad)


@pytest.fixture(
    params=[
        pytest.param(of_numpy, id="numpy"),
        pytest.param(of_the_standard, id="strict"),
        pytest.param(of_cupy, id="cupy", marks=pytest.mark.gpu),
    ]
)
def backend(request):
    """Makes a tensor of an array of numpy, on each library: `backend(array, requires_grad=True)`."""
    return request.param
