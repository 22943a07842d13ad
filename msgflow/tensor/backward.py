"""Gradients, backwards through what was recorded: reverse-mode differentiation.

    loss = mt.mse_loss(model(x), y)     each operation leaves a Step: what it was, and its inputs
    loss.backward()                     from the last Step to the first, each hands its gradient on to its inputs

Gradients are computed by the same operations as everything else, so that with `create_graph` they have gradients too.
Source: Griewank and Walther, Evaluating Derivatives, 2nd edition, 2008, chapter 3.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import Token
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar, cast, overload

from msgflow._version_clock import adding_up
from msgflow.errors import GradientError, ShapeError
from msgflow.tensor.backends import namespace
from msgflow.tensor.dtypes import bfloat16
from msgflow.tensor.operations import GRAD, Operand, Recorder, Step, mode

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class _Tape:
    """With or without a tape, in a block or in a function that it decorates.

    Where a Runtime records, there is none in any case, and it goes on recording.
    """

    __slots__ = ("_token", "_wanted")

    def __init__(self, wanted: Literal[False] | None) -> None:
        self._wanted = wanted
        self._token: Token[Recorder | Literal[False] | None] | None = None

    def __enter__(self) -> None:
        if self._token is not None:
            raise RuntimeError("this no_grad() or enable_grad() is in force already; make one for each block")
        self._token = mode.set(mode.get() or self._wanted)

    def __exit__(self, *_: object) -> None:
        token, self._token = self._token, None
        # Event loops close a generator that was left halfway in another context, where the block was never in force.
        with suppress(ValueError):
            mode.reset(token)  # type: ignore[arg-type] # it was entered

    def __call__(self, function: F) -> F:
        """The function, whose calls are such blocks; one that is `async def` as well."""
        if isinstance(function, type) or isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                "no_grad and enable_grad decorate functions, plain or `async def`, and not classes or generators: "
                "write `with mt.no_grad():` where the tensors are computed"
            )
        wanted = self._wanted

        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with _Tape(wanted):
                return await function(*args, **kwargs)

        def called(*args: Any, **kwargs: Any) -> Any:
            with _Tape(wanted):
                return function(*args, **kwargs)

        return cast(F, wraps(function)(awaited if iscoroutinefunction(function) else called))


@overload
def no_grad() -> _Tape: ...
@overload
def no_grad(function: F) -> F: ...
def no_grad(function: Any = None) -> Any:
    """In the block, operations keep nothing for gradients: they are faster, and memory is freed early.

    `@mt.no_grad()` does this to a function, plain or `async def`.
    """
    return _Tape(False) if function is None else _Tape(False)(function)


@overload
def enable_grad() -> _Tape: ...
@overload
def enable_grad(function: F) -> F: ...
def enable_grad(function: Any = None) -> Any:
    """In the block, operations keep what gradients need, as they do outside of any `no_grad`; decorates, too."""
    return _Tape(None) if function is None else _Tape(None)(function)


def backward(root: "Tensor", gradient: "Tensor | None", *, create_graph: bool) -> None:
    """Add gradients to all leaves under `root`; see Tensor.backward."""
    for leaf, grad in gradients_under(root, gradient, create_graph=create_graph).items():
        with adding_up:  # two threads may go back to one leaf
            had = leaf.grad
            leaf.grad = grad if had is None else had + grad


def gradients_under(
    root: "Tensor",
    gradient: "Tensor | None",
    *,
    wanted: "Sequence[Tensor] | None" = None,
    create_graph: bool = False,
) -> "dict[Tensor, Tensor]":
    """The gradients of all leaves under `root`, or of those tensors that are wanted and that it was made from."""
    if not root.tags & GRAD:
        raise GradientError(
            "there is no gradient here: nothing that this tensor was made from requires one, or it was made under "
            "no_grad; call requires_grad_() on what is to have one"
        )
    grads = {root: _first_gradient(root, gradient)}
    found = {}
    only = None if wanted is None else set(wanted)
    leading = _under(root) if only is None else _leading_to(only, _under(root))
    with _Tape(None if create_graph else False):
        # Each after all that were made from it.
        for tensor in sorted(leading, key=_number, reverse=True):
            grad = grads.pop(tensor, None)
            if grad is None:
                continue
            if not isinstance(tensor.origin, Step) or (only is not None and tensor in only):
                found[tensor] = grad
            if isinstance(tensor.origin, Step):
                for given, part in _parts(tensor, tensor.origin, grad, leading):
                    had = grads.get(given)
                    grads[given] = part if had is None else had + part
    return found


def _first_gradient(root: "Tensor", gradient: "Tensor | None") -> "Tensor":
    if gradient is not None:
        if not isinstance(gradient, Operand):
            raise GradientError(f"backward takes a gradient that is a tensor, not {gradient!r:.60}")
        if gradient.shape != root.shape:
            raise ShapeError("backward", [gradient.shape, root.shape], "the gradient has the shape of the tensor")
        return gradient.to(device=root.device, dtype=root.dtype)
    if root.size != 1:
        raise GradientError(
            f"only a tensor of one number has a gradient by itself, and this one has the shape {root.shape}; "
            "take its sum() or mean(), or give backward() a gradient"
        )
    one = 0x3F80 if root.dtype is bfloat16 else 1  # the bits of 1.0
    return type(root).of(namespace(root.array).full_like(root.array, one))


def _under(root: "Tensor") -> "set[Tensor]":
    """All tensors with a gradient that `root` was made from, and itself."""
    seen = {root}
    waiting = [root]
    while waiting:  # no recursion, because a tape may be any length
        origin = waiting.pop().origin
        if isinstance(origin, Step):
            for given in origin.inputs:
                if _has_gradient(given) and given not in seen:
                    seen.add(given)
                    waiting.append(given)
    return seen


def _has_gradient(given: object) -> "TypeGuard[Tensor]":
    return isinstance(given, Operand) and bool(given.tags & GRAD)


def _number(tensor: "Tensor") -> int:
    return tensor.origin.number if isinstance(tensor.origin, Step) else 0


def _leading_to(only: "set[Tensor]", tensors: "set[Tensor]") -> "set[Tensor]":
    """Those that were made from one of `only`, and these."""
    leading = only & tensors
    for tensor in sorted(tensors, key=_number):
        if isinstance(tensor.origin, Step) and any(
            isinstance(given, Operand) and given in leading for given in tensor.origin.inputs
        ):
            leading.add(tensor)
    return leading


def _parts(tensor: "Tensor", step: Step, grad: "Tensor", leading: "set[Tensor]") -> "Iterator[tuple[Tensor, Tensor]]":
    """The inputs of a step that lead to what is wanted, each with its part of the gradient."""
    for given, array in zip(step.inputs, step.arrays, strict=True):
        if isinstance(given, Operand) and given.array is not array:
            raise GradientError(
                f"a tensor that {step.operation.name} was computed from has been given other numbers since; "
                "call backward() before from_numpy()"
            )
    for index, given in enumerate(step.inputs):
        gradient = step.operation.gradients[index]
        if gradient is not None and _has_gradient(given) and given in leading:
            yield given, summed_to(gradient(grad, tensor, *step.inputs, **step.settings), given)


def summed_to(grad: "Tensor", given: "Tensor") -> "Tensor":
    """The gradient of a tensor that was broadcast, or promoted, on its way."""
    shape, wanted = grad.array.shape, given.array.shape
    if shape != wanted:
        added = len(shape) - len(wanted)
        axes = [*range(added), *(added + axis for axis, size in enumerate(wanted) if size == 1 != shape[added + axis])]
        grad = grad.sum(tuple(axes), keepdims=True).reshape(wanted)
    return grad if grad.array.dtype == given.array.dtype else grad.to(dtype=given.dtype)
