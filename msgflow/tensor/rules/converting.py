"""The same numbers of another type or on another device, and one number in their place."""

from msgflow.tensor.backends import Array, Namespace, moved, narrowed, widened
from msgflow.tensor.dtypes import DType, stored_as
from msgflow.tensor.operations import Operation


def _cast(xp: Namespace, x: Array, *, dtype: DType) -> Array:
    wide = widened(x) if stored_as(x.dtype).is_half else x
    return narrowed(wide, dtype) if dtype.is_half else xp.astype(wide, getattr(xp, dtype.name))


# Its gradient is converted to the type of the input afterwards, like every gradient.
CAST = Operation("cast", _cast, [lambda grad, out, x, dtype: grad], moves=True)
TO_DEVICE = Operation(
    "to_device",
    lambda xp, x, *, device: moved(x, device),
    [lambda grad, out, x, device: grad.to(device=x.device)],
    moves=True,
)
# The same numbers, where a Runtime has to know whose they are.
DETACH = Operation("detach", lambda xp, x: x, moves=True)
FULL_LIKE = Operation("full_like", lambda xp, x, *, value: xp.full_like(x, value))
