"""Gradients of functions.

    grad(f)(x)              the gradient of f, a function of tensors, at x
    grad(grad(f))(x)        its second derivative
    grad(loss)(model)       a dict of gradients, by the names of the model's parameters
    grad(y, [a, b])         the gradients of a tensor that is there already

None of them touches `.grad`. Source of the form: Bradbury et al., JAX, 2018.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeAlias, overload

import numpy as np

from msgflow._version_clock import Cell, one_version, pinned
from msgflow.errors import GradientError, RecordError
from msgflow.tensor.backends import is_array, namespace
from msgflow.tensor.backward import enable_grad, gradients_under
from msgflow.tensor.creation import tensor
from msgflow.tensor.dtypes import float64
from msgflow.tensor.operations import mode
from msgflow.tensor.tensors import Tensor

# Tensors and numbers, lists, tuples and dicts of them, and whatever has `named_parameters()`.
Tree: TypeAlias = Any
_inside: ContextVar[bool] = ContextVar("msgflow_inside_a_gradient", default=False)


@overload
def grad(of: Tensor, inputs: Tree, *, create_graph: bool = False, allow_unused: bool = False) -> Any: ...
@overload
def grad(of: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., Any]: ...
def grad(of: Any, *args: Any, **options: Any) -> Any:
    """The gradient of a function, as a function; or of a tensor, with regard to tensors that it was made from.

    `grad(f, argnums)` takes what `f` takes and gives what `value_and_grad(f, argnums)` gives second.

    `grad(y, inputs)` is PyTorch's `autograd.grad`: a tuple of gradients for a tensor, or for a list of tensors and
    Parameters, and for a module a dict by name. `create_graph` lets the gradients have gradients. Raises GradientError
    where `y` does not depend on one of them; with `allow_unused`, the gradient is None there.
    """
    if isinstance(of, Tensor):
        return _of_tensor(of, *args, **options)
    differentiated = value_and_grad(of, *args, **options)

    @wraps(of)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return differentiated(*args, **kwargs)[1]

    return gradient


def value_and_grad(f: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., tuple[Tensor, Any]]:
    """The function that gives what `f` gives, a tensor of one number, and its gradients.

    `argnums` says of which arguments, by place: a number for one, several for a tuple of gradients. A gradient has the
    form of its argument: a tensor for a tensor or a float, lists, tuples and dicts for those, and for a module a dict
    by name, of those of its parameters that require one. What `f` does not depend on has a gradient of zeros.

    Where an argument requires a gradient already, and inside of another gradient, the gradients have gradients.
    Raises GradientError where `f` gives anything but one number, or an argument holds what has no gradient.
    """
    if not callable(f):
        raise TypeError(f"a gradient is of a function or of a tensor, not of {f!r:.80}")
    places = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @wraps(f)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        if mode.get():
            raise RecordError("a Runtime records here, and it records no gradients; take them outside of it")
        nested = _inside.get()
        token = _inside.set(True)
        try:
            with enable_grad():
                variables = _Variables(nested)
                given = list(args)
                for place in places:
                    given[place] = variables.of(_argument(args, place), f"argument {place}")
                with variables.in_place():
                    value = _one_number(f(*given, **kwargs))
                found = iter(variables.gradients(value))
        finally:
            _inside.reset(token)
        grads = tuple(_like(_argument(args, place), found) for place in places)
        return value if variables.keep_history else value.detach(), grads[0] if isinstance(argnums, int) else grads

    return differentiated


def _argument(args: tuple[Any, ...], place: int) -> Any:
    if not -len(args) <= place < len(args):
        raise TypeError(f"argnums names the argument {place}, and {len(args)} were given by place")
    return args[place]


def _one_number(value: Any) -> Tensor:
    if isinstance(value, Tensor) and value.size == 1:
        return value
    came = f"a tensor of shape {value.shape}" if isinstance(value, Tensor) else f"{value!r:.60}"
    raise GradientError(f"a gradient is of a function that gives one number; this one gave {came}")


class _Variables:
    """What a gradient is taken of: a stand-in for every tensor of the arguments.

    So a tensor that the function knows from elsewhere as well counts there as a constant.
    """

    def __init__(self, nested: bool) -> None:
        self._nested = nested
        self._watched: list[Tensor] = []
        self._own: dict[Cell, Tensor] = {}
        self.keep_history = nested

    def of(self, given: Tree, place: str) -> Tree:
        """The same tree, of stand-ins. A module stays; what its parameters hold meanwhile is in `in_place()`."""
        given = given.value if isinstance(given, Cell) else given
        if isinstance(given, Tensor):
            self.keep_history |= given.requires_grad
            return self._watch(given, given.requires_grad, place)
        if isinstance(given, float) or is_array(given):
            return self._watch(tensor(given), False, place)
        if isinstance(given, dict):
            return {key: self.of(item, f"{place}[{key!r}]") for key, item in given.items()}
        if isinstance(given, list | tuple):
            return _same_kind(given, [self.of(item, f"{place}[{index}]") for index, item in enumerate(given)])
        for name, cell in _trained(given, place):
            if cell not in self._own:
                self._own[cell] = self._watch(cell.value, self._nested, f"{place}.{name}")
            else:
                self._watched.append(self._own[cell])
        return given

    def _watch(self, given: Tensor, has_history: bool, place: str) -> Tensor:
        if not given.dtype.is_floating:
            raise GradientError(f"{place} is of {given.dtype.name}, and only floating-point tensors have gradients")
        watched = given.reshape(given.shape) if has_history else given.detach().requires_grad_()
        self._watched.append(watched)
        return watched

    def in_place(self) -> AbstractContextManager[None]:
        """In the block, the modules read the stand-ins, of one version, beside what they would read anyway."""
        if not self._own:
            return nullcontext()
        pin = pinned.get()
        above = None if pin is None else pin.own
        own: Mapping[Cell, Any] = self._own if above is None else ChainMap(self._own, above)  # type: ignore[arg-type]
        return one_version(own)

    def gradients(self, value: Tensor) -> list[Tensor]:
        if not value.requires_grad:
            return [_zeros(watched) for watched in self._watched]
        found = gradients_under(value, None, wanted=self._watched, create_graph=self.keep_history)
        return [found[watched] if watched in found else _zeros(watched) for watched in self._watched]


def _trained(given: Any, place: str) -> list[tuple[str, Cell]]:
    """The parameters of a module that hold tensors and require gradients."""
    if not hasattr(given, "named_parameters"):
        raise GradientError(
            f"{place} is of type {type(given).__name__}; gradients are of tensors, floats, modules, and of lists, "
            "tuples and dicts of them"
        )
    named = given.named_parameters()
    return [(name, cell) for name, cell in named if isinstance(cell.value, Tensor) and cell.requires_grad]


def _same_kind(given: list[Any] | tuple[Any, ...], items: list[Any]) -> Any:
    if isinstance(given, list):
        return items
    return type(given)(*items) if hasattr(given, "_fields") else tuple(items)  # a namedtuple


def _like(given: Tree, found: Iterator[Tensor]) -> Tree:
    """The gradients in the form of the argument; the order is that of _Variables.of."""
    if isinstance(given, dict):
        return {key: _like(item, found) for key, item in given.items()}
    if isinstance(given, list | tuple):
        return _same_kind(given, [_like(item, found) for item in given])
    if hasattr(given, "named_parameters"):
        return {name: next(found) for name, _ in _trained(given, "")}
    return next(found)


def _zeros(x: Tensor) -> Tensor:
    return Tensor.of(namespace(x.array).zeros_like(x.array))


# --- of a tensor -----------------------------------------------------------------------------------------------------


def _of_tensor(output: Tensor, inputs: Tree, *, create_graph: bool = False, allow_unused: bool = False) -> Any:
    names, given = _named(inputs)
    wanted = [each.value if isinstance(each, Cell) else each for each in given]
    for name, each in zip(names, wanted, strict=True):
        if not isinstance(each, Tensor):
            raise TypeError(f"gradients are of tensors and Parameters of tensors; the input {name} is {each!r:.60}")
    found = gradients_under(output, None, wanted=wanted, create_graph=create_graph)
    unused = [str(name) for name, each in zip(names, wanted, strict=True) if each not in found]
    if unused and not allow_unused:
        raise GradientError(
            f"the tensor was not made from input {', '.join(unused)}, or that requires no gradient; "
            "allow_unused=True gives None there"
        )
    grads = [found.get(each) for each in wanted]
    return tuple(grads) if isinstance(names, range) else dict(zip(names, grads, strict=True))


def _named(inputs: Tree) -> tuple[Sequence[Any], list[Any]]:
    if hasattr(inputs, "named_parameters"):
        inputs = dict(_trained(inputs, ""))
    if isinstance(inputs, Mapping):
        return list(inputs), list(inputs.values())
    given = [inputs] if isinstance(inputs, Tensor | Cell) else list(inputs)
    return range(len(given)), given


# --- checking --------------------------------------------------------------------------------------------------------


def gradcheck(
    f: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """Whether the gradients of `f` are what its values say: True, or GradientError that names the worst place.

    `f` takes tensors and gives one, or several. Its floating-point inputs are converted to float64, and each of their
    numbers is moved by `eps` up and down: the difference of the two results over 2 `eps` is off by about
    1e-16 / `eps` + `eps`^2. A gradient may be off by `atol` + `rtol` times that.
    """
    with enable_grad():
        return _checked(f, [tensor(x) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)], eps, atol, rtol)


def _checked(f: Callable[..., Any], given: list[Tensor], eps: float, atol: float, rtol: float) -> bool:
    at = [x.to(dtype=float64).requires_grad_() if x.dtype.is_floating else x for x in given]
    floating = [index for index, x in enumerate(at) if x.requires_grad]
    outputs = _outputs(f, at)
    analytic = _analytic(outputs, [at[index] for index in floating])
    worst, found = 0.0, ""
    for index, of_outputs in zip(floating, analytic, strict=True):
        numeric = _numeric(f, at, index, eps)
        for number, (ours, theirs) in enumerate(zip(of_outputs, numeric, strict=True)):
            allowed = atol + rtol * np.abs(theirs)
            excess = np.nan_to_num(np.abs(ours - theirs) / allowed, nan=np.inf)
            if excess.size and excess.max() > max(worst, 1.0):
                worst = float(excess.max())
                place = np.unravel_index(int(excess.argmax()), excess.shape)
                out, into = (_place(int(flat), x) for flat, x in zip(place, (outputs[number], at[index]), strict=True))
                found = (
                    f"the gradient of output {number} at {out} for input {index} at {into} is {ours[place]:.8g}, and "
                    f"finite differences give {theirs[place]:.8g}; at most {allowed[place]:.2g} apart was expected"
                )
    if found:
        raise GradientError(f"gradcheck: {found}")
    return True


def _outputs(f: Callable[..., Any], inputs: list[Tensor]) -> list[Tensor]:
    given = f(*inputs)
    return list(given) if isinstance(given, list | tuple) else [given]


def _place(flat: int, x: Tensor) -> tuple[int, ...]:
    return tuple(int(index) for index in np.unravel_index(flat, x.shape)) if x.shape else ()


def _analytic(outputs: list[Tensor], inputs: list[Tensor]) -> "list[list[np.ndarray[Any, Any]]]":
    """For every input, for every output, a matrix: a row for each number of the output."""
    jacobians = [[np.zeros((output.size, x.size)) for output in outputs] for x in inputs]
    for number, output in enumerate(outputs):
        for row in range(output.size if output.requires_grad else 0):
            one = np.zeros(output.size)
            one[row] = 1
            gradient = output.beside(one.reshape(output.shape))
            found = gradients_under(output, gradient, wanted=inputs)
            for column, x in enumerate(inputs):
                if x in found:
                    jacobians[column][number][row] = found[x].to_numpy().reshape(-1)
    return jacobians


def _numeric(f: Callable[..., Any], inputs: list[Tensor], index: int, eps: float) -> "list[np.ndarray[Any, Any]]":
    x = inputs[index]
    columns = []
    for place in range(x.size):
        sides = []
        for sign in (1, -1):
            moved = x.to_numpy().reshape(-1)
            moved[place] += sign * eps
            there = x.beside(moved.reshape(x.shape)).requires_grad_()
            outputs = _outputs(f, [*inputs[:index], there, *inputs[index + 1 :]])
            sides.append([output.to_numpy().astype("float64").reshape(-1) for output in outputs])
        columns.append([(up - down) / (2 * eps) for up, down in zip(*sides, strict=True)])
    if not columns:
        return [np.zeros((output.size, 0)) for output in _outputs(f, inputs)]
    return [np.stack(of_output, axis=-1) for of_output in zip(*columns, strict=True)]
