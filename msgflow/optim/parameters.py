"""What optimisers train: the tensors among what they are given, their gradients, and their new values."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from msgflow._version_clock import publish
from msgflow.errors import GradientError
from msgflow.nn.parameter import Parameter
from msgflow.tensor.tensors import Tensor

Trained: TypeAlias = Parameter | Tensor
# What a Module, a Parameter, a tensor, or an iterable of Parameters, tensors and pairs of a name and one is.
Trainable: TypeAlias = Any


def groups_of(params: Any) -> list[dict[str, Any]]:
    """Groups as dicts with `params`; what is not given in groups is one."""
    if hasattr(params, "named_parameters") or isinstance(params, Parameter | Tensor):
        return [{"params": params}]
    if isinstance(params, Mapping | str) or not isinstance(params, Iterable):
        raise TypeError(
            f"an optimiser takes module.parameters(), a module, or a list of groups, not {type(params).__name__}"
        )
    given = list(params)
    groups = sum(isinstance(each, Mapping) for each in given)
    if 0 < groups < len(given):
        raise TypeError("parameters and groups are mixed; give each parameter a group: {'params': [parameter]}")
    return [dict(each) for each in given] if groups else [{"params": given}]


def trained(params: Trainable) -> dict[Trained, str]:
    """The Parameters that hold tensors, and the tensors that require a gradient, with their names ("" for none).

    Prompts and other JSON values are left out: nothing here could train them. Raises GradientError for a tensor that
    has no gradient of its own, TypeError for what is neither.
    """
    if hasattr(params, "named_parameters"):
        params = params.named_parameters()
    elif isinstance(params, Parameter | Tensor):
        params = [params]
    found: dict[Trained, str] = {}
    for place, each in enumerate(params):
        name, given = each if isinstance(each, tuple) and len(each) == 2 else ("", each)
        parameter = _trained(given, name or f"parameter {place}")
        if parameter is not None:
            found.setdefault(parameter, name)
    return found


def _trained(given: Any, name: str) -> Trained | None:
    if isinstance(given, Tensor):
        if isinstance(given.cell, Parameter):
            return given.cell
        if not given.is_leaf:
            raise GradientError(f"{name} is the result of an operation; an optimiser trains what it was made from")
        if not given.requires_grad:
            raise GradientError(f"{name} is a tensor that requires no gradient; call requires_grad_() on it first")
        return given
    if not isinstance(given, Parameter):
        # A prompt that was read from its module is plain text here.
        raise TypeError(f"{name} is of type {type(given).__name__}; an optimiser takes Parameters: module.parameters()")
    return given if isinstance(given.value, Tensor) else None


def value_of(parameter: Trained) -> Tensor:
    value: Tensor = parameter.value if isinstance(parameter, Parameter) else parameter
    return value


def gradient_of(parameter: Trained) -> Tensor | None:
    """Its gradient, of its type and on its device; None where it has none or is frozen."""
    grad: Tensor | None = parameter.grad
    if grad is None or not parameter.requires_grad:
        return None
    value = value_of(parameter)
    return grad.to(device=value.device, dtype=value.dtype)


def publish_all(changes: Iterable[tuple[Trained, Tensor]]) -> None:
    """Store new values: those of modules all at once, as one version."""
    cells = []
    for parameter, new in changes:
        if isinstance(parameter, Parameter):
            cells.append((parameter, new.kept_by(parameter)))
        else:
            parameter.array = new.array
    publish(cells)
