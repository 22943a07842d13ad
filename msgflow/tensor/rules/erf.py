"""The error function, which neither numpy nor the array API standard has."""

from collections.abc import Callable

import numpy as np

from msgflow.tensor.backends import Array, Namespace, erf_of_library

# Of float32: erf(x) = tanh(x p(x ** 2)), where the polynomial p was fitted so that the
# largest relative error of erf, before rounding, is least: 1e-7. From _SATURATED on, erf is 1 within float32.
_SATURATED = 4.2
_IN_TANH = (
    1.4184744166975472e-07,
    -5.668386000917697e-06,
    8.76367367706723e-05,
    -0.0006197829626427608,
    -0.00019183293318216562,
    0.10276905681305146,
    1.1283792741839167,
)

# Of float64: x P(x ** 2) / Q(x ** 2) near 0, 1 - exp(-x ** 2) P(x) / Q(x) beyond.
# Source: W. J. Cody, Rational Chebyshev approximations for the error function, Mathematics of Computation 23, 1969.
# His third range, from 4 on, is for erfc; erf is 1 - 2e-8 there, and the second range does for what is left.
_NEAR = 0.46875
_ONE = 6.0  # from here on, erf is 1 within float64
_NEAR_P = (
    1.85777706184603153e-1,
    3.16112374387056560,
    1.13864154151050156e2,
    3.77485237685302021e2,
    3.20937758913846947e3,
)
_NEAR_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_FAR_P = (
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594,
    6.61191906371416295e1,
    2.98635138197400131e2,
    8.81952221241769090e2,
    1.71204761263407058e3,
    2.05107837782607147e3,
    1.23033935479799725e3,
)
_FAR_Q = (
    1.0,
    1.57449261107098347e1,
    1.17693950891312499e2,
    5.37181101862009858e2,
    1.62138957456669019e3,
    3.29079923573345963e3,
    4.36261909014324716e3,
    3.43936767414372164e3,
    1.23033935480374942e3,
)
_BLOCK = 1 << 16  # so many numbers, and what is computed of them, stay in the cache between two steps


def erf(xp: Namespace, x: Array) -> Array:
    """Of float32 or float64, within 4 units in the last place."""
    library = erf_of_library(x)
    if library is not None:
        return library(x)
    formula = _erf32 if x.dtype == xp.float32 else _erf64
    return _in_blocks(formula, x) if xp is np and x.size > _BLOCK else formula(xp, x)


def _in_blocks(formula: Callable[..., Array], x: Array) -> Array:
    numbers = x.reshape(-1)
    result = np.empty_like(numbers)
    for start in range(0, numbers.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        result[block] = formula(np, numbers[block])
    return result.reshape(x.shape)


def _erf32(xp: Namespace, x: Array) -> Array:
    x = xp.minimum(xp.maximum(x, -_SATURATED), _SATURATED)
    inner = _polynomial(x * x, _IN_TANH)
    inner *= x
    return xp.tanh(inner)


def _erf64(xp: Namespace, x: Array) -> Array:
    size = xp.abs(x)
    near = xp.minimum(xp.maximum(x, -_NEAR), _NEAR)
    square = near * near
    near = near * (_polynomial(square, _NEAR_P) / _polynomial(square, _NEAR_Q))
    far = xp.minimum(xp.maximum(size, _NEAR), _ONE)
    rest = _polynomial(far, _FAR_P) / _polynomial(far, _FAR_Q)
    rest *= xp.exp(-far * far)
    return xp.where(size <= _NEAR, near, xp.sign(x) * (1 - rest))


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """With the coefficient of the highest power first."""
    value = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        value += coefficient
        value *= x
    value += coefficients[-1]
    return value
