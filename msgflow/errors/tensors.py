"""Errors about tensors."""

from collections.abc import Sequence

from msgflow.errors.root import MsgflowError


class TensorError(MsgflowError):
    """Something about tensors."""


class ShapeError(TensorError, ValueError):
    """Tensors whose shapes do not go together, or one of another shape than it should have."""

    def __init__(self, operation: str, shapes: Sequence[tuple[int, ...]], reason: str = "") -> None:
        self.operation, self.shapes = operation, list(shapes)
        shown = " and ".join(map(str, shapes))
        if not reason:
            text = f"shapes {shown} do not go together"
        elif all(str(shape) in reason for shape in shapes):
            text = reason
        else:
            text = f"shape {shown}: {reason}"
        super().__init__(f"{operation}: {text}")


class IndexOutOfRange(ShapeError, IndexError):
    """A place in an axis that has not so many."""


class DTypeError(TensorError, TypeError):
    """A type of number that an operation cannot use, or no tensor at all."""


class DeviceError(TensorError, RuntimeError):
    """A device that there is not, or tensors on different ones."""


class GradientError(TensorError, RuntimeError):
    """A gradient of something that has none."""


class RecordError(TensorError, RuntimeError):
    """A Runtime in wrong use: run before launch, changed after it, asked for values while it records."""
