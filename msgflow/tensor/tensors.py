"""Tensor: numbers in a grid, on numpy or a GPU, with gradients."""

from collections.abc import Iterator
from typing import Any, NoReturn, Self, final

import numpy as np

from msgflow._frozen import Leaf
from msgflow._version_clock import publish
from msgflow.errors import DTypeError, GradientError, ShapeError
from msgflow.tensor.backends import device_named, device_of, is_array, on_host, widened
from msgflow.tensor.backward import backward
from msgflow.tensor.dtypes import DType, DTypeLike, as_dtype, bfloat16, stored_as
from msgflow.tensor.operations import GRAD, Step, apply, mode, unary
from msgflow.tensor.operators import Operators
from msgflow.tensor.rules.converting import CAST, DETACH, TO_DEVICE
from msgflow.tensor.rules.indexing import indexed
from msgflow.tensor.rules.shaping import PERMUTE


@final
class Tensor(Operators):
    """Numbers in a grid of any number of axes; `mt.tensor(...)`, `mt.zeros(...)` and their like make one.

    Operators broadcast and promote types as numpy does. The numbers are never changed in place: operations give new
    tensors, and `from_numpy` gives this one other numbers of the same shape and type.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` is a tensor, by __rmul__

    # --- what it is ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(self.array.size)

    @property
    def dtype(self) -> DType:
        return stored_as(self.array.dtype)

    @property
    def device(self) -> str:
        """ "cpu", or "cuda:0"."""
        return device_of(self.array)

    def __len__(self) -> int:
        if not self.shape:
            raise DTypeError("a tensor without axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        shown = np.array2string(self._shown(), separator=", ", prefix="tensor(")
        notes = [f", shape={self.shape}" if not self.size else ""]
        notes += ["" if self.dtype.name in ("float32", "int64", "bool") else f", dtype={self.dtype.name}"]
        notes += [f", device={self.device!r}" if self.device != "cpu" else ""]
        notes += [", requires_grad=True" if self.requires_grad else ""]
        return f"tensor({shown}{''.join(notes)})"

    # --- to and from numpy -----------------------------------------------------------------------------------------

    def _numbers(self) -> "np.ndarray[Any, Any]":
        """The numbers in numpy's memory, for reading; bfloat16 as float32."""
        self._asked()
        return self._shown()

    def _asked(self) -> None:
        """Tell a Runtime that records: somebody's next step may depend on these numbers."""
        watching = mode.get()
        if watching:
            watching.asked(self)

    def _shown(self) -> "np.ndarray[Any, Any]":
        return on_host(widened(self.array) if self.dtype is bfloat16 else self.array)

    def to_numpy(self) -> "np.ndarray[Any, Any]":
        """A copy of the numbers, to change as you like; bfloat16, which numpy does not have, as float32."""
        return np.array(self._numbers())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "np.ndarray[Any, Any]":
        numbers = self._numbers()
        wanted = numbers.dtype if dtype is None else np.dtype(dtype)
        if copy is False and (wanted != numbers.dtype or self.dtype is bfloat16 or self.device != "cpu"):
            raise ValueError(f"{self.dtype.name} on {self.device} cannot become {wanted} of numpy without a copy")
        if copy or wanted != numbers.dtype:
            return np.array(numbers, dtype=wanted)
        view = numbers.view()
        view.flags.writeable = False
        return view

    def __dlpack__(self, **options: Any) -> Any:
        """The numbers for another library, in the same memory: whoever writes to them changes this tensor."""
        if self.dtype is bfloat16:
            raise DTypeError("bfloat16 cannot be handed on by DLPack from here; convert it with .to(mt.float32)")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        place: tuple[int, int] = self.array.__dlpack_device__()
        return place

    def item(self) -> float | int | bool:
        """The number of a tensor that has only one."""
        if self.size != 1:
            raise ShapeError("item", [self.shape], "only a tensor of one number is a Python number")
        number: float | int | bool = self._numbers().item()
        return number

    def tolist(self) -> Any:
        """The numbers as nested lists; one number where there are no axes."""
        return self._numbers().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.is_floating or self.size != 1:
            raise DTypeError(f"only a tensor of one whole number is an index, not {self.dtype.name} {self.shape}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError("bool", [self.shape], "the truth of several numbers is ambiguous; use mt.any or mt.all")
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def from_numpy(self, numbers: Any) -> Self:
        """Give this tensor other numbers, a copy of these; they have its shape, and are converted to its type.

        In a module's state, this publishes them as a new value. Raises ShapeError for another shape.
        """
        came = numbers if isinstance(numbers, Tensor) else Tensor.copy_of(np.asanyarray(numbers))
        if came.shape != self.shape:
            raise ShapeError("from_numpy", [came.shape, self.shape])
        came._asked()
        new = came.detach().to(device=self.device, dtype=self.dtype)._as_array_of(self)
        if (cell := self.cell) is not None:
            publish([(cell, new.kept_by(cell))])
        elif isinstance(self.origin, Step):
            raise GradientError("from_numpy: this tensor is the result of an operation; give numbers to its inputs")
        else:
            self.array = new.array
        return self

    def _as_array_of(self, other: "Tensor") -> "Tensor":
        """These numbers in an array of the library of another tensor's, which is on the same device."""
        if type(self.array) is type(other.array):
            return self
        return other.beside(on_host(self.array))

    # --- moving and converting -------------------------------------------------------------------------------------

    def to(self, device: Any = None, dtype: DTypeLike | None = None) -> "Tensor":
        """On a device ("cpu", "cuda"), of a type, or both; itself where nothing changes. `to(mt.float16)` works."""
        if isinstance(device, DType):
            device, dtype = None, device
        there: Tensor = self
        if dtype is not None and (wanted := as_dtype(dtype)) is not self.dtype:
            # Whole numbers and bools come in steps, which have no gradient.
            there = apply(CAST, there if wanted.is_floating else there.detach(), dtype=wanted)
        if device is not None and device_named(device) != there.device:
            there = apply(TO_DEVICE, there, device=device)
        return there

    def cpu(self) -> "Tensor":
        return self.to("cpu")

    def cuda(self) -> "Tensor":
        return self.to("cuda")

    # --- gradients -------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        return bool(self.tags & GRAD)

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        self.requires_grad_(requires_grad)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients of this tensor are wanted. One that an operation made has them already."""
        if isinstance(self.origin, Step):
            if not requires_grad:
                raise GradientError("this tensor is the result of an operation; take .detach() of it instead")
        elif (cell := self.cell) is not None:
            cell.requires_grad = requires_grad
        else:
            self.watch(Leaf() if requires_grad else None)
        return self

    def watch(self, leaf: Leaf | None) -> None:
        if leaf is not None and not self.dtype.is_floating:
            raise GradientError(
                f"only floating-point tensors have gradients, not {self.dtype.name}; leave it at requires_grad=False"
            )
        self.tags = self.tags & ~GRAD if leaf is None else self.tags | GRAD
        if leaf is not None or self.cell is None:  # the state that holds it goes on doing so
            self.origin = leaf

    @property
    def is_floating(self) -> bool:
        return self.dtype.is_floating

    @property
    def is_leaf(self) -> bool:
        """Whether no operation with a gradient made it."""
        return not isinstance(self.origin, Step)

    @property
    def grad(self) -> "Tensor | None":
        """What `backward()` has added up for it; None before, and for the results of operations."""
        return getattr(self.origin, "grad", None)

    @grad.setter
    def grad(self, grad: "Tensor | None") -> None:
        if not isinstance(self.origin, Leaf) or not (self.requires_grad or hasattr(self.cell, "grad")):
            raise GradientError("this tensor keeps no gradient; call requires_grad_() on one that no operation made")
        if grad is not None and not (isinstance(grad, Tensor) and grad.shape == self.shape):
            given = grad.described() if isinstance(grad, Tensor) else f"{grad!r:.60}"
            raise GradientError(f"the gradient of {self.described()} is a tensor of its shape, or None, not {given}")
        self.origin.grad = grad

    def detach(self) -> "Tensor":
        """The same numbers, without their history."""
        alone = Tensor(self.array, self.tags & ~GRAD)
        watching = mode.get()
        if watching:
            watching.record(DETACH, (self,), {}, alone)
        return alone

    def backward(self, gradient: "Tensor | None" = None, *, create_graph: bool = False) -> None:
        """Add the gradient of this number to the `grad` of every tensor and Parameter that it was made from.

        A tensor of several numbers needs `gradient`, of its shape. `create_graph` lets the gradients have gradients.
        Raises GradientError where nothing that it was made from requires one.
        """
        backward(self, gradient, create_graph=create_graph)

    # --- in a state ------------------------------------------------------------------------------------------------

    @property
    def data(self) -> "Tensor":
        """The numbers alone. Assigning publishes a new value, where this tensor is part of a module's state."""
        return self.detach()

    @data.setter
    def data(self, data: Any) -> None:
        self.from_numpy(data)

    @property
    def spec(self) -> str | None:
        """What the Parameter that holds this tensor says it is for."""
        return getattr(self.cell, "spec", None)

    @property
    def cell(self) -> Any:
        """The Parameter, or other Cell, of the state that it is in; None where it is in none."""
        return self.origin.cell if isinstance(self.origin, Leaf) else None

    def kept_by(self, cell: Any) -> "Tensor":
        self._asked()
        kept = Tensor(self.array, self.tags & ~GRAD, cell.leaf)
        if cell.requires_grad:
            kept.watch(cell.leaf)
        return kept

    def replacement(self, value: Any, where: str) -> "Tensor":
        came = value if isinstance(value, Tensor) else Tensor.copy_of(value) if is_array(value) else None
        if came is None:
            raise DTypeError(
                f"{where}: expected a tensor, {self.described()}, got {value!r:.60}; make one with mt.tensor(...), "
                "or all of a state with mt.convert_state_dict(state, 'numpy')"
            )
        problem = f"expected {self.described()}, got {came.described()}"
        if came.shape != self.shape:
            raise ShapeError(where, [came.shape, self.shape], problem)
        if came.dtype is not self.dtype:
            raise DTypeError(
                f"{where}: {problem}; convert the module with module.to(dtype=...), or the value with .to()"
            )
        return came.detach().to(device=self.device)._as_array_of(self)

    def copied(self) -> "Tensor":
        return self.detach()

    def raw(self) -> "tuple[str, np.ndarray[Any, Any]]":
        return self.dtype.name, on_host(self.array)

    def described(self) -> str:
        return f"{self.dtype.name} {self.shape}"

    def __copy__(self) -> "Tensor":
        return self.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        # The numbers never change, so that both can have them.
        copied = self.detach()
        if self.requires_grad and self.is_leaf:
            copied.requires_grad_()
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (on_host(self.array), self.dtype, self.device, self.requires_grad and self.is_leaf)

    # --- parts -----------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> "Tensor":
        """As numpy: numbers, slices, `...`, None, tensors or arrays of indexes, and masks."""
        return indexed(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError("a tensor's numbers do not change in place; mt.where(mask, new, old) gives a changed copy")

    def __contains__(self, value: Any) -> bool:
        return bool((self._numbers() == value).any())

    @property
    def T(self) -> "Tensor":
        """All axes in reverse order."""
        return unary(PERMUTE, self, axes=tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> "Tensor":
        """The last two axes swapped."""
        last = self.ndim - 1
        if last < 1:
            raise ShapeError("mT", [self.shape], "there are no two axes to swap")
        return unary(PERMUTE, self, axes=(*range(last - 1), last, last - 1))


def _rebuilt(array: "np.ndarray[Any, Any]", dtype: DType, device: str, requires_grad: bool) -> Tensor:
    tensor = Tensor.of(array).to(device=device)
    return tensor.requires_grad_() if requires_grad else tensor
