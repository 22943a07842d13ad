"""How an operation is carried out: on arrays, on 16-bit floats, on a tape, into a Runtime.

An Operation says how arrays are computed and how gradients flow back; `apply` does the rest for all of them. What most
calls are, two plain numpy arrays that nobody watches, takes a short way (`unary`, `binary`): it must cost hardly more
than numpy by itself.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

import numpy as np

from msgflow._frozen import Leaf, StateValue
from msgflow._version_clock import Cell
from msgflow.errors import DeviceError, DTypeError, ShapeError, TensorError
from msgflow.tensor.backends import (
    Array,
    Namespace,
    adds_in_float32,
    device_of,
    has_places_for_results,
    like,
    namespace,
    narrowed,
    on_host,
    widened,
)
from msgflow.tensor.dtypes import ALL, DType, bool_, float16, float64, int8, int64, no_dtype, promoted, stored_as, uint8

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

# What a tensor has about it that the short way does not do.
GRAD = 1  # it requires a gradient
HALF = 2  # its numbers are 16-bit floats
OTHER = 4  # its array is not numpy's
_NOT_SHORT = 8  # there is something beside it that is neither a tensor nor a number

# The types, by numpy's letters, that operations on numpy arrays give. Numpy gives others as well: int16 for int8 with
# uint8, float16 for functions of 8-bit integers, uint64 for sums. The short ways leave those to `compute`.
GIVEN = frozenset(
    kind for kind in np.typecodes["All"] if np.dtype(kind).name in {dtype.name for dtype in ALL if not dtype.is_half}
)
_PLAIN_NUMBERS = (float, int, bool)

# From the gradient of the result, the result, the inputs and the settings to the gradient of one input. It may have
# more axes or a wider type than the input: what was broadcast or promoted is summed and converted afterwards.
Gradient: TypeAlias = Callable[..., Any]  # which is a Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What is done to arrays: `compute(xp, *arrays, **settings)`, with the names of the array API standard in `xp`.

    `gradients` has one function an input, None for one that has no gradient, and none at all for a result that has
    none, such as a comparison. Where `in_place` is true, `compute` also takes `out=`, an array for the result.
    Where `moves` is true, numbers are moved and not computed with, so that 16-bit floats stay as they are. Only the
    first `typed_by` inputs decide the type of the result; the others are indexes and conditions. Where `adds_products`
    is true, a library may do by itself what 16-bit floats need.
    """

    name: str
    compute: Callable[..., Array]
    gradients: Sequence[Gradient | None] = ()
    ufunc: Callable[..., Any] | None = field(default=None, kw_only=True)
    moves: bool = field(default=False, kw_only=True)
    typed_by: int | None = field(default=None, kw_only=True)
    in_place: bool = field(default=False, kw_only=True)
    adds_products: bool = field(default=False, kw_only=True)

    def __repr__(self) -> str:
        return f"<operation {self.name}>"


def elementwise(name: str, *gradients: Gradient | None, floats: bool = False) -> Operation:
    """An operation that the standard has under this name, and numpy as a universal function.

    One of `floats` computes with float64 where it is given integers alone.
    """

    def compute(xp: Namespace, *arrays: Array, **out: Array) -> Array:
        return getattr(xp, name)(*(floating(xp, *arrays) if floats else arrays), **out)

    return Operation(name, compute, gradients, ufunc=getattr(np, name), in_place=True)


def floating(xp: Namespace, *arrays: Any) -> Sequence[Any]:
    """Integers as float64, unless there are floats among them."""
    for array in arrays:
        if type(array) is float or (type(array) not in _PLAIN_NUMBERS and stored_as(array.dtype).is_floating):
            return arrays
    return [float(array) if type(array) in _PLAIN_NUMBERS else xp.astype(array, xp.float64) for array in arrays]


class Recorder(Protocol):
    """Sees every operation while it is in force; no tape for gradients is kept meanwhile."""

    def record(
        self, operation: Operation, inputs: tuple[Any, ...], settings: dict[str, Any], output: "Tensor"
    ) -> None: ...

    def asked(self, tensor: "Tensor") -> None:
        """Somebody looks at the numbers of a tensor; raises RecordError where they are not to be known yet."""


# What operations do beside computing: None, keep a tape for gradients; False, nothing; a Recorder, tell it.
# The two that cost nothing are false, so that asking costs no more than the look.
mode: ContextVar[Recorder | Literal[False] | None] = ContextVar("msgflow_tensor_mode", default=None)
_mode = mode.get
_numbers = count(1).__next__


class Step:
    """How a tensor came about, kept for its gradient.

    `arrays` are what the inputs held at the time, `number` orders steps by their time.
    """

    __slots__ = ("arrays", "inputs", "number", "operation", "settings")

    def __init__(
        self, operation: Operation, inputs: tuple[Any, ...], arrays: list[Any], settings: dict[str, Any]
    ) -> None:
        self.operation, self.inputs, self.arrays, self.settings = operation, inputs, arrays, settings
        self.number = _numbers()


class Operand(StateValue):
    """What operations take and give: an array, what there is about it, and where it comes from.

    `origin` is the Step that made it, the Leaf that its gradient goes to and that knows the state it is in, or None.
    The array is never written to: a new value is a new array.
    """

    __slots__ = ("__weakref__", "array", "origin", "tags")

    def __init__(self, array: Array, tags: int = 0, origin: Step | Leaf | None = None) -> None:
        self.array, self.tags, self.origin = array, tags, origin

    @classmethod
    def of(cls, array: Array) -> Self:
        """A tensor of an array, which nobody may write to any more."""
        if type(array) is not np.ndarray and isinstance(array, np.generic):
            array = np.asarray(array)
        return cls(array, _tags_of(array))

    @classmethod
    def copy_of(cls, numbers: Any) -> Self:
        """A tensor, on the CPU, with a copy of an array of any library. Raises DTypeError for other types."""
        if type(numbers) is not np.ndarray and hasattr(numbers, "filled"):  # numpy's masked arrays
            raise DTypeError("a tensor has no mask, and would keep what it hides; give array.filled(...) instead")
        array = on_host(numbers)
        if array.dtype == np.uint16:  # which is how bfloat16 is kept, and no type of its own
            raise no_dtype(array.dtype)
        return cls.of(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))

    def beside(self, numbers: "np.ndarray[Any, Any]") -> Self:
        """A tensor of numbers of numpy, in the library and on the device of this one."""
        return self.of(like(numbers, self.array))


def unary(operation: Operation, x: "Tensor", **settings: Any) -> "Tensor":
    """An operation of one tensor that is one function, or method, of numpy."""
    if isinstance(x, Operand) and not x.tags and not _mode():
        try:
            array = operation.ufunc(x.array, **settings)  # type: ignore[misc] # each of them has one
        except (ValueError, TypeError) as error:
            raise _refused(operation, [x.array], error) from None
        if array.dtype.char in GIVEN:
            kind: type[Tensor] = type(x)
            return kind(array if type(array) is np.ndarray else np.asarray(array))
    return apply(operation, x, **settings)


def binary(operation: Operation, x: Any, y: Any) -> "Tensor":
    """An elementwise operation of two tensors, or of one and a number; it broadcasts."""
    kind: Any
    if isinstance(x, Operand):
        kind, tags, left = type(x), x.tags, x.array
        if isinstance(y, Operand):
            tags, right = tags | y.tags, y.array
        else:
            tags, right = tags if type(y) in _PLAIN_NUMBERS else _NOT_SHORT, y
    elif isinstance(y, Operand) and type(x) in _PLAIN_NUMBERS:
        kind, tags, left, right = type(y), y.tags, x, y.array
    else:
        return apply(operation, x, y)
    if tags or _mode():
        return apply(operation, x, y)
    try:
        array = operation.ufunc(left, right)  # type: ignore[misc] # every elementwise operation has one
    except (ValueError, TypeError, OverflowError) as error:
        raise _refused(operation, [left, right], error) from None
    if array.dtype.char in GIVEN:
        result: Tensor = kind(array if type(array) is np.ndarray else np.asarray(array))
        return result
    return apply(operation, x, y)


def apply(operation: Operation, *inputs: Any, **settings: Any) -> "Tensor":
    """Carry out an operation; tensors are among its inputs, beside numbers, and arrays and Parameters of tensors.

    Raises ShapeError, with all shapes, where they do not go together; DTypeError, where the types do not; DeviceError
    for tensors on different devices.
    """
    tags, kind, arrays = 0, None, []
    for given in inputs:
        if isinstance(given, Operand):
            kind, tags = type(given), tags | given.tags
            arrays.append(given.array)
        elif type(given) in _PLAIN_NUMBERS:
            arrays.append(given)
        else:
            return apply(operation, *_operands(operation, inputs), **settings)
    if kind is None:
        raise DTypeError(f"{operation.name} takes a tensor, not {inputs[0]!r:.80}; make one with mt.tensor(...)")
    array = computed(operation, arrays, settings, tags)
    new_tags = _tags_of(array) if tags & (HALF | OTHER) or not _CHANGES.isdisjoint(settings) else 0
    watching = _mode()
    if tags & GRAD and operation.gradients and watching is None:
        return kind(array, new_tags | GRAD, Step(operation, inputs, arrays, settings))  # type: ignore[return-value]
    output: Tensor = kind(array, new_tags)  # type: ignore[assignment] # there is no other kind of Operand
    if watching:
        watching.record(operation, inputs, settings, output)
    return output


_CHANGES = frozenset({"dtype", "device"})  # the settings that make what is an ordinary array another, and the reverse


def computed(operation: Operation, arrays: list[Any], settings: dict[str, Any], tags: int) -> Array:
    """The array that an operation gives of these arrays and numbers; `tags` is what there is about any of them."""
    try:
        if tags & (HALF | OTHER):
            array = _computed_in_general(operation, arrays, settings)
        else:
            ufunc = operation.ufunc
            array = operation.compute(np, *arrays, **settings) if ufunc is None else ufunc(*arrays, **settings)
            if array.dtype.char not in GIVEN and _CHANGES.isdisjoint(settings):
                array = operation.compute(np, *_of_one_type(np, operation, arrays), **settings)
    except TensorError:  # an operation that says by itself what is wrong
        raise
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise _refused(operation, arrays, error) from None
    return array if type(array) is np.ndarray or not isinstance(array, np.generic) else np.asarray(array)


def _computed_in_general(operation: Operation, arrays: list[Any], settings: dict[str, Any]) -> Array:
    """As computed, for 16-bit floats (in float32, rounded once) and for arrays that are not numpy's."""
    tensors = [array for array in arrays if type(array) not in _PLAIN_NUMBERS]
    devices = {device_of(array) for array in tensors}
    if len(devices) > 1:
        raise DeviceError(f"{operation.name} of tensors on {' and '.join(sorted(devices))}; move them with .to(device)")
    xp = namespace(tensors[0])
    dtypes = _dtypes(operation, arrays)
    result = promoted(*dtypes) if dtypes else None
    numbers = any(type(given) in _PLAIN_NUMBERS for given in arrays[: operation.typed_by])
    computes = not operation.moves or len(dtypes) > 1 or numbers
    if operation.adds_products and dtypes == {float16} and adds_in_float32(tensors[0]):
        computes = False
    if computes:
        arrays = [_wide(array) for array in arrays]
        if dtypes and (not has_places_for_results(tensors[0]) or dtypes == {int8, uint8}):
            arrays = _of_one_type(xp, operation, arrays)
    array = operation.compute(xp, *arrays, **settings)
    narrow = computes and result is not None and result.is_half and array.dtype == xp.float32
    return narrowed(array, result) if narrow else array  # type: ignore[arg-type] # it narrows to something


def _dtypes(operation: Operation, arrays: list[Any]) -> set[DType]:
    typed = arrays[: operation.typed_by]
    return {stored_as(array.dtype) for array in typed if type(array) not in _PLAIN_NUMBERS}


def _wide(array: Any) -> Any:
    if type(array) in _PLAIN_NUMBERS or not stored_as(array.dtype).is_half:
        return array
    return widened(array)


def _of_one_type(xp: Namespace, operation: Operation, arrays: list[Any]) -> list[Any]:
    """The arrays that decide the type, all converted to the type of the result, and Python's numbers as its numbers.

    The standard leaves it open what becomes of integers beside floats; here it is what numpy makes of them.
    """
    typed, others = arrays[: operation.typed_by], arrays[len(arrays[: operation.typed_by]) :]
    result = promoted(*_dtypes(operation, arrays))
    kinds = {type(array) for array in typed}
    if not result.is_floating and float in kinds:
        result = float64
    elif result is bool_ and int in kinds:
        result = int64
    number = float if result.is_floating else int if result is not bool_ else bool
    common = getattr(xp, result.name)
    converted = [number(x) if type(x) in _PLAIN_NUMBERS else xp.astype(x, common, copy=False) for x in typed]
    return converted + others


def _tags_of(array: Array) -> int:
    half = HALF if stored_as(array.dtype).is_half else 0
    return half if type(array) is np.ndarray else half | OTHER


def tensor_of(operation: Operation, x: Any) -> "Tensor":
    """A tensor, or the one that a Parameter holds. Raises DTypeError for anything else."""
    if isinstance(x, Operand):
        return x  # type: ignore[return-value] # there is no other kind of Operand
    return _operands(operation, (x,))[0]  # type: ignore[no-any-return]


def _operands(operation: Operation, inputs: tuple[Any, ...]) -> list[Any]:
    """Parameters as the tensors that they hold, and arrays of numpy as tensors on the device of those."""
    held = [given.value if isinstance(given, Cell) else given for given in inputs]
    beside = next((given for given in held if isinstance(given, Operand)), None)
    if beside is None:
        raise _not_a_tensor(operation, held[0])
    return [_operand(operation, given, beside) for given in held]


def _operand(operation: Operation, given: Any, other: Operand) -> Any:
    if isinstance(given, Operand) or type(given) in _PLAIN_NUMBERS:
        return given
    if isinstance(given, np.ndarray | np.generic):
        return other.beside(other.copy_of(given).array)
    if isinstance(given, float | int):  # a subclass, such as an IntEnum
        return float(given) if isinstance(given, float) else int(given)
    raise _not_a_tensor(operation, given)


def _not_a_tensor(operation: Operation, given: Any) -> DTypeError:
    return DTypeError(
        f"{operation.name} takes tensors and numbers, not {type(given).__name__}; make a tensor with mt.tensor(...)"
    )


def _refused(operation: Operation, arrays: list[Any], error: Exception) -> Exception:
    """What a library says about numbers that it cannot compute with, with the shapes or the types that there were."""
    tensors = [array for array in arrays if type(array) not in _PLAIN_NUMBERS]
    if isinstance(error, TypeError | OverflowError) or "integer power" in str(error):
        types = " and ".join(stored_as(array.dtype).name for array in tensors)
        return DTypeError(f"{operation.name} of {types}: {error}")
    return ShapeError(operation.name, [tuple(array.shape) for array in tensors], "" if len(tensors) > 1 else str(error))
