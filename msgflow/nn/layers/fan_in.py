"""How the weights of linear maps and convolutions begin."""

from math import sqrt

import msgflow.tensor as mt
from msgflow.nn.parameter import Parameter
from msgflow.tensor.dtypes import DTypeLike


def uniform_by_fan_in(shape: tuple[int, ...], fan_in: int, dtype: DTypeLike, device: str) -> Parameter:
    """Uniform in ±1/sqrt(fan_in); fan_in is how many numbers are summed up for one of the result.

    Source: He et al. 2015, arXiv:1502.01852, eq. 10, with the gain of a leaky ReLU of slope sqrt(5), as in PyTorch.
    """
    bound = 1 / sqrt(fan_in) if fan_in > 0 else 0.0
    return Parameter(mt.uniform(shape, dtype, low=-bound, high=bound, device=device))
