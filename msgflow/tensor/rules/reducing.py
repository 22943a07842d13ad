"""Many numbers made one, along some axes. `axis` is a tuple of axes that are not negative."""

from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from msgflow.errors import DTypeError, ShapeError
from msgflow.tensor.backends import Array, Namespace
from msgflow.tensor.dtypes import stored_as
from msgflow.tensor.operations import GIVEN, Operand, Operation, apply, floating, mode, tensor_of
from msgflow.tensor.rules.comparing import WHERE, truth
from msgflow.tensor.rules.converting import FULL_LIKE
from msgflow.tensor.rules.shaping import BROADCAST_TO

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

Axes: TypeAlias = int | tuple[int, ...] | None
_mode = mode.get


def reduced(operation: Operation, x: Any, axis: Axes, keepdims: bool, **settings: Any) -> "Tensor":
    """A reduction of a tensor, along an axis, several, or all for None."""
    if isinstance(x, Operand) and not x.tags and not _mode() and operation.ufunc is not None:
        try:
            array = operation.ufunc(x.array, axis=axis, keepdims=keepdims)
        except (ValueError, TypeError):
            pass  # which is told in the other way
        else:
            if array.dtype.char in GIVEN:
                return type(x)(array if type(array) is np.ndarray else np.asarray(array))  # type: ignore[return-value]
    x = tensor_of(operation, x)
    return apply(operation, x, axis=axes_of(x, axis), keepdims=keepdims, **settings)


def axes_of(x: Any, axis: Axes) -> tuple[int, ...]:
    """The axes that a reduction goes along, from 0; all of them for None. Raises ShapeError for any other."""
    if axis is None:
        return tuple(range(len(x.array.shape)))
    if type(axis) is int:
        return (axis_of(x, axis),)
    given = axis if isinstance(axis, tuple | list) else (axis,)
    return tuple(axis_of(x, place) for place in given)


def axis_of(x: Any, axis: int) -> int:
    """One axis, counted from 0. Raises ShapeError for one that is not there, DTypeError for what is no whole number."""
    if not hasattr(axis, "__index__"):
        raise DTypeError(f"an axis is a whole number, not {axis!r:.60}")
    count = len(x.array.shape)
    if not -count <= axis < count:
        raise ShapeError("axis", [x.shape], f"there is no axis {axis}; there are {count}")
    return axis.__index__() % count


def spread(result: "Tensor", x: "Tensor", axis: tuple[int, ...]) -> "Tensor":
    """What belongs to a reduced tensor, at every number that it was reduced from."""
    return apply(BROADCAST_TO, kept(result, x, axis), shape=x.shape)


def kept(result: "Tensor", x: "Tensor", axis: tuple[int, ...]) -> "Tensor":
    """A reduced tensor with its axes of size 1, as `keepdims` leaves them."""
    shape = tuple(1 if place in axis else size for place, size in enumerate(x.shape))
    return result if result.shape == shape else result.reshape(shape)


def count_of(x: Any, axis: tuple[int, ...]) -> int:
    """How many numbers become one."""
    return prod(x.shape[place] for place in axis)


def _counted(xp: Namespace, x: Array) -> tuple[Array, dict[str, Any]]:
    """Integers are added up as int64. The standard has no sum of bools, and of uint8 one in uint64, which we lack."""
    if stored_as(x.dtype).is_floating:
        return x, {}
    return xp.astype(x, xp.int8) if x.dtype == xp.bool else x, {"dtype": xp.int64}


def _total(name: str) -> Any:
    def compute(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool, **out: Array) -> Array:
        x, dtype = _counted(xp, x)
        return getattr(xp, name)(x, axis=axis, keepdims=keepdims, **dtype, **out)

    return compute


SUM = Operation(
    "sum",
    _total("sum"),
    [lambda grad, out, x, axis, keepdims: spread(grad, x, axis)],
    ufunc=np.add.reduce,
    in_place=True,
)


def _mean(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    (x,) = floating(xp, x)
    return xp.sum(x, axis=axis, keepdims=keepdims) / count_of(x, axis)


def _mean_of_numpy(x: Array, *, axis: Axes, keepdims: bool) -> Array:
    total: Any = np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload] # several axes are fine
    return total / (x.size // (total.size or 1))


MEAN = Operation(
    "mean",
    _mean,
    [lambda grad, out, x, axis, keepdims: spread(grad / (count_of(x, axis) or 1), x, axis)],
    ufunc=_mean_of_numpy,
)


def _deviations(xp: Namespace, x: Array, axis: tuple[int, ...]) -> Array:
    return x - xp.sum(x, axis=axis, keepdims=True) / count_of(x, axis)


def _var(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool, correction: float) -> Array:
    (x,) = floating(xp, x)
    deviations = _deviations(xp, x, axis)
    deviations *= deviations
    return xp.sum(deviations, axis=axis, keepdims=keepdims) / (count_of(x, axis) - correction)


def _var_gradient(
    grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: tuple[int, ...], keepdims: bool, correction: float
) -> "Tensor":
    deviations = x - apply(MEAN, x, axis=axis, keepdims=True)
    return deviations * (kept(grad, x, axis) * 2 / (count_of(x, axis) - correction))


VAR = Operation("var", _var, [_var_gradient])


def _std(xp: Namespace, x: Array, **settings: Any) -> Array:
    return xp.sqrt(_var(xp, x, **settings))


def _std_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", **settings: Any) -> "Tensor":
    # Where all numbers are equal the slope is not defined; it is 0 here, as in PyTorch.
    flat = out == 0
    half = apply(WHERE, 0, grad / (apply(WHERE, 1, out, flat) * 2), flat)
    return _var_gradient(half, out, x, **settings)


STD = Operation("std", _std, [_std_gradient])


def _extreme(name: str) -> Any:
    def compute(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool, **out: Array) -> Array:
        return getattr(xp, name)(x, axis=axis, keepdims=keepdims, **out)

    return compute


def _extreme_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: tuple[int, ...], keepdims: bool) -> "Tensor":
    """Those that are the largest share the gradient evenly, as those that are NaN do."""
    chosen = ((x == kept(out, x, axis)) | (x != x)).to(dtype=grad.dtype)
    return chosen * (kept(grad, x, axis) / chosen.sum(axis, keepdims=True))


MAX = Operation("max", _extreme("max"), [_extreme_gradient], ufunc=np.maximum.reduce, in_place=True)
MIN = Operation("min", _extreme("min"), [_extreme_gradient], ufunc=np.minimum.reduce, in_place=True)


def _prod_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: tuple[int, ...], keepdims: bool) -> "Tensor":
    order = (*(place for place in range(x.ndim) if place not in axis), *axis)
    moved = x.permute(order)
    others = apply(OTHERS, moved.reshape(*moved.shape[: x.ndim - len(axis)], -1)).reshape(moved.shape)
    return kept(grad, x, axis) * others.permute(tuple(sorted(range(x.ndim), key=order.__getitem__)))


PROD = Operation("prod", _total("prod"), [_prod_gradient], ufunc=np.multiply.reduce, in_place=True)


def _others(xp: Namespace, x: Array) -> Array:
    """The product of all others on the last axis. Dividing the product of all by each would fail at 0."""
    before = xp.cumulative_prod(x, axis=-1, include_initial=True)[..., :-1]
    after = xp.flip(xp.cumulative_prod(xp.flip(x, axis=-1), axis=-1, include_initial=True), axis=-1)[..., 1:]
    return before * after


def _others_gradient(grad: "Tensor", out: "Tensor", x: "Tensor") -> "Tensor":
    """Of every pair, the product of all the rest: quadratic in the last axis."""
    one = apply(FULL_LIKE, x, value=1)
    itself = apply(IDENTITY, x)
    rows = apply(WHERE, one.reshape(*x.shape, 1), x.reshape(*x.shape[:-1], 1, x.shape[-1]), itself)
    rest = apply(WHERE, 0, apply(OTHERS, rows), itself)
    return (grad.reshape(*x.shape, 1) * rest).sum(-2)


OTHERS = Operation("others", _others, [_others_gradient])
IDENTITY = Operation("identity", lambda xp, x: xp.eye(x.shape[-1], dtype=xp.bool))


def _cumsum(xp: Namespace, x: Array, *, axis: int, backwards: bool) -> Array:
    x, dtype = _counted(xp, x)
    if backwards:
        return xp.flip(xp.cumulative_sum(xp.flip(x, axis=axis), axis=axis, **dtype), axis=axis)
    return xp.cumulative_sum(x, axis=axis, **dtype)


def _cumsum_gradient(grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: int, backwards: bool) -> "Tensor":
    return apply(CUMSUM, grad, axis=axis, backwards=not backwards)


CUMSUM = Operation("cumsum", _cumsum, [_cumsum_gradient])


def _logsumexp(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    (x,) = floating(xp, x)
    if not count_of(x, axis):
        return xp.sum(x, axis=axis, keepdims=keepdims) - xp.inf
    largest = xp.max(x, axis=axis, keepdims=True)
    largest = xp.where(xp.isfinite(largest), largest, 0.0)
    powers = x - largest
    total = xp.sum(xp.exp(powers), axis=axis, keepdims=True)
    none = total == 0  # where all are -inf
    total = xp.where(none, -xp.inf, xp.log(xp.where(none, 1.0, total))) + largest
    return total if keepdims else xp.squeeze(total, axis=axis)


def _logsumexp_gradient(
    grad: "Tensor", out: "Tensor", x: "Tensor", *, axis: tuple[int, ...], keepdims: bool
) -> "Tensor":
    total = kept(out, x, axis)
    total = apply(WHERE, 0, total, total == -np.inf)
    return kept(grad, x, axis) * (x - total).exp()


LOGSUMEXP = Operation("logsumexp", _logsumexp, [_logsumexp_gradient])


def _truths(name: str) -> Any:
    def compute(xp: Namespace, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
        return getattr(xp, name)(truth(xp, x), axis=axis, keepdims=keepdims)

    return compute


ANY = Operation("any", _truths("any"))
ALL = Operation("all", _truths("all"))


def _place(name: str) -> Any:
    def compute(xp: Namespace, x: Array, *, axis: int | None, keepdims: bool) -> Array:
        return getattr(xp, name)(x, axis=axis, keepdims=keepdims)

    return compute


ARGMAX = Operation("argmax", _place("argmax"))
ARGMIN = Operation("argmin", _place("argmin"))
