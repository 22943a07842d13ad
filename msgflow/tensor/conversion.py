"""State dicts in the tensors of one library or another."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from msgflow._frozen import freeze, thaw
from msgflow._version_clock import Cell
from msgflow.errors import DTypeError, TensorError
from msgflow.tensor.backends import is_array, namespace, namespace_for, on_host
from msgflow.tensor.dtypes import DType, DTypeLike, as_dtype, bfloat16, float32
from msgflow.tensor.tensors import Tensor


def convert_state_dict(state: Mapping[str, Any], kind: str, *, dtype: DTypeLike | None = None) -> dict[str, Any]:
    """The same keys in the same order, with all tensors as those of `kind`: "numpy", "torch", "cupy" or "msgflow".

    Tensors of any of these are taken, wherever they are, and copied; torch's and numpy's are in the computer's own
    memory then. Text and other values stay what they are. `dtype` converts floating-point tensors, and no others.
    bfloat16, which numpy and cupy do not have, becomes float32 there, exactly.
    Raises DTypeError for another kind, and for a tensor of numbers that there are none of here; NotJson for a value
    that is neither a tensor nor JSON, both with its key; TensorError where torch, DeviceError where cupy is missing.
    """
    if not isinstance(kind, str) or kind not in _MAKERS:
        raise DTypeError(f"there are no tensors of kind {kind!r:.80}; there are {', '.join(_MAKERS)}")
    if not isinstance(state, Mapping):
        raise DTypeError(f"a state dict is a mapping of keys to values, not {type(state).__name__}")
    make = _MAKERS[kind]()
    wanted = _floating(dtype)
    return {key: _converted(key, value, make, wanted) for key, value in state.items()}


def _floating(dtype: DTypeLike | None) -> DType | None:
    wanted = None if dtype is None else as_dtype(dtype)
    if wanted is not None and not wanted.is_floating:
        raise DTypeError(f"dtype= is what floating-point tensors become, and cannot be {wanted.name}")
    return wanted


def _converted(key: str, value: Any, make: Callable[[Tensor], Any], wanted: DType | None) -> Any:
    value = value.value if isinstance(value, Cell) else value
    try:
        tensor = _tensor(value)
    except (TypeError, ValueError, RuntimeError) as problem:  # of torch, about tensors that have no plain numbers
        raise DTypeError(f"{key}: {problem}") from problem
    if tensor is None:
        return thaw(freeze(value, key))
    return make(tensor if wanted is None or not tensor.dtype.is_floating else tensor.to(dtype=wanted))


def _tensor(value: Any) -> Tensor | None:
    """A tensor that shares no memory with the value; None for what is none."""
    if isinstance(value, Tensor):
        return value.detach()
    torch = sys.modules.get("torch")  # without it, there are no tensors of it
    if torch is not None and isinstance(value, torch.Tensor):
        return _of_torch(value, torch)
    if isinstance(value, np.ndarray | np.generic):
        if isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap):
            raise DTypeError(f"a {type(value).__name__} is no plain array; give numpy.asarray(value)")
        return Tensor.of(np.array(value, _known(value).storage, order="C"))
    return Tensor.of(namespace(value).asarray(value, copy=True)) if is_array(value) and _known(value) else None


def _known(array: Any) -> DType:
    # By its name: uint16 would pass for bfloat16, which is stored so.
    return as_dtype(getattr(array.dtype, "name", None) or str(array.dtype).rpartition(".")[2])


def _of_torch(value: Any, torch: Any) -> Tensor:
    dtype = as_dtype(str(value.dtype))
    there = value.detach().cpu().contiguous()
    # numpy takes no bfloat16, but its bits as other numbers of 16.
    numbers = there.view(torch.int16).numpy().view(bfloat16.storage) if dtype is bfloat16 else there.numpy()
    return Tensor.of(np.array(numbers))


def _torch() -> Callable[[Tensor], Any]:
    try:
        import torch
    except ImportError as missing:
        raise TensorError("tensors of torch need torch; install it with: pip install torch") from missing

    def make(tensor: Tensor) -> Any:
        array = np.array(on_host(tensor.array))
        if tensor.dtype is bfloat16:
            return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
        return torch.from_numpy(array)

    return make


def _cupy() -> Callable[[Tensor], Any]:
    namespace_for("cuda")  # raises what is missing
    return lambda tensor: (tensor.to(dtype=float32) if tensor.dtype is bfloat16 else tensor).to("cuda").array.copy()


_MAKERS: dict[str, Callable[[], Callable[[Tensor], Any]]] = {
    "numpy": lambda: Tensor.to_numpy,
    "torch": _torch,
    "cupy": _cupy,
    "msgflow": lambda: Tensor.detach,
}
