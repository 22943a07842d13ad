"""The numbers that an optimiser is given, checked."""

from math import inf, isfinite
from numbers import Real
from typing import Any


def number(name: str, value: Any, *, at_least: float = 0.0, below: float = inf) -> float:
    """Raises TypeError for what is no number, ValueError for one outside of the range."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(f"{name} is a number, not {value!r:.80} of type {type(value).__name__}")
    plain: float = value if type(value) is int else float(value)  # not one of numpy's
    if not (isfinite(plain) and at_least <= plain < below):
        upper = "" if below == inf else f" and below {below:g}"
        raise ValueError(f"{name} is {value}; it has to be at least {at_least:g}{upper}")
    return plain


def betas(value: Any) -> tuple[float, float]:
    """How much two moving averages keep of what they were."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"betas is {value!r:.80}; it has to be two numbers, such as (0.9, 0.999)")
    first, second = (number(f"betas[{index}]", beta, below=1.0) for index, beta in enumerate(value))
    return first, second
