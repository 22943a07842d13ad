"""Gradients kept from being too large: between `backward()` and `step()`."""

from math import inf, isfinite
from typing import Any

from msgflow.errors import GradientError
from msgflow.optim.options import number
from msgflow.optim.parameters import gradient_of, trained
from msgflow.tensor.backends import Array, namespace, narrowed, widened
from msgflow.tensor.backward import no_grad
from msgflow.tensor.creation import tensor
from msgflow.tensor.dtypes import float32, promoted
from msgflow.tensor.tensors import Tensor


def clip_grad_norm_(params: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """Scale all gradients down, where the norm of all their numbers together is above `max_norm`; gives that norm.

    `params` are as for an optimiser. `norm_type` is the p of the p-norm; `inf` is the largest number. What is not
    finite stays to be seen: a NaN makes every gradient NaN, an infinity makes itself NaN and all other numbers 0, and
    `error_if_nonfinite` raises GradientError before any change. The rule is PyTorch's, computed in float64.
    """
    number("max_norm", max_norm)
    if norm_type != inf and number("norm_type", norm_type) == 0:
        raise ValueError("norm_type is 0; it has to be above 0, or inf")
    found = {parameter: grad for parameter in trained(params) if (grad := gradient_of(parameter)) is not None}
    total = _norm_of_norms([_norm(grad, norm_type) for grad in found.values()], norm_type)
    if error_if_nonfinite and not isfinite(total):
        raise GradientError(
            f"the norm of the gradients is {total}, so that they cannot be clipped; look for the step that made one of "
            "them so, or let them through with error_if_nonfinite=False"
        )
    coefficient = max_norm / (total + 1e-6)
    if not coefficient >= 1:  # which NaN is not
        with no_grad():
            for parameter, grad in found.items():
                parameter.grad = grad * coefficient
    types = [float32 if grad.dtype.is_half else grad.dtype for grad in found.values()]
    return tensor(total, dtype=promoted(float32, *types))


def clip_grad_value_(params: Any, clip_value: float) -> None:
    """Bring every number of the gradients into -clip_value to clip_value. NaN stays NaN."""
    number("clip_value", clip_value)
    for parameter in trained(params):
        grad = gradient_of(parameter)
        if grad is not None:
            xp, half = namespace(grad.array), grad.dtype.is_half
            clipped = xp.clip(widened(grad.array) if half else grad.array, -clip_value, clip_value)
            parameter.grad = Tensor.of(narrowed(clipped, grad.dtype) if half else clipped)


def _norm(grad: Tensor, norm_type: float) -> float:
    if not grad.size:
        return 0.0
    xp = namespace(grad.array)
    array = widened(grad.array) if grad.dtype.is_half else grad.array
    if norm_type == inf:
        return float(xp.max(xp.abs(array)))
    numbers = xp.astype(xp.reshape(array, (-1,)), xp.float64)
    return _root(xp.vecdot(numbers, numbers) if norm_type == 2 else xp.sum(xp.abs(numbers) ** norm_type), norm_type)


def _norm_of_norms(norms: list[float], norm_type: float) -> float:
    if norm_type == inf:
        return float("nan") if any(norm != norm for norm in norms) else max(norms, default=0.0)
    return _root(sum(norm**norm_type for norm in norms), norm_type)


def _root(total: Array | float, norm_type: float) -> float:
    root: float = float(total) ** (1 / norm_type)
    return root
