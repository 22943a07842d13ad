"""Parameter: a value of the state that may be optimised; Buffer: one that is not; Text, as a text parameter is read."""

from typing import Any, Self

from msgflow._frozen import Leaf, StateValue, state_value
from msgflow._version_clock import Cell, publish
from msgflow.errors import GradientError


class Parameter(Cell):
    """A prompt, another JSON value such as a list of examples, or a tensor, that is saved, swapped and optimised.

    `spec` says what the value is for ("system_prompt"), for people and for optimisers. Parameters have identity:
    two with equal data stay two. Setting `data` publishes a new value for all calls that begin after it.
    Raises TypeError for data that no state file can hold, GradientError for whole numbers without
    `requires_grad=False`.
    """

    __slots__ = ("__weakref__", "_requires_grad", "can_be_trained", "leaf", "spec")

    def __init__(self, data: Any, spec: str | None = None, *, requires_grad: bool = True) -> None:
        self.spec, self.leaf, self._requires_grad = spec, Leaf(self), requires_grad
        super().__init__(None)
        value = self.kept(state_value(data, "a parameter"))
        self.stored = (value, 0)
        # Whether `module.requires_grad_()` is about it.
        self.can_be_trained = not isinstance(value, StateValue) or value.is_floating

    def kept(self, value: Any) -> Any:
        """The form in which a tensor or a frozen value is kept; raises what is wrong with it."""
        if isinstance(value, StateValue):
            return value.kept_by(self)
        return Text(value, self) if isinstance(value, str) else value

    @property
    def data(self) -> Any:
        """The value itself: a plain `str`, a JSON value that cannot be changed in place, or a tensor's numbers."""
        value = self.value
        if isinstance(value, StateValue):
            return value.copied()
        return str(value) if isinstance(value, Text) else value

    @data.setter
    def data(self, data: Any) -> None:
        publish([(self, self.kept(self._new_value(data)))])

    def _new_value(self, data: Any) -> Any:
        """Raises TypeError for data of another kind, ShapeError or DTypeError for a tensor of another."""
        held = self.value
        if isinstance(held, StateValue):
            return held.replacement(data, "this parameter")
        if self.is_text != isinstance(data, str) or isinstance(data, StateValue):
            was, given = ("text", type(data).__name__) if self.is_text else ("not text", "text")
            if isinstance(data, StateValue):
                given = "a tensor"
            raise TypeError(f"this parameter holds {was} and cannot become {given}; register a new Parameter instead")
        return state_value(data, "a parameter")

    @property
    def grad(self) -> Any:
        """What is known of how to make it better: the gradient of a tensor, the feedback on a text."""
        return self.leaf.grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        value = self.value
        if isinstance(value, StateValue):
            value.grad = grad  # which knows what a gradient of it is
        else:
            self.leaf.grad = grad

    @property
    def is_text(self) -> bool:
        return isinstance(self.stored[0], str)  # in one version as in any

    @property
    def requires_grad(self) -> bool:
        """Whether it is to be optimised. A tensor knows it by itself."""
        value = self.value
        return value.requires_grad if isinstance(value, StateValue) else self._requires_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        for value in (self.value, self.stored[0]):  # what is read here, and what is read elsewhere
            if isinstance(value, StateValue):
                value.watch(self.leaf if requires_grad else None)
        self._requires_grad = requires_grad
        self.can_be_trained = self.can_be_trained or requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        self.requires_grad = requires_grad
        return self

    def __repr__(self) -> str:
        value = self.value
        shown = f"tensor {value.described()}" if isinstance(value, StateValue) else repr(self.data)
        spec = f", spec={self.spec!r}" if self.spec is not None else ""
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter({shown}{spec}{frozen})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is trained by itself, from its own gradients; the feedback on a text goes with it.
        grad = None if isinstance(self.value, StateValue) else self.grad
        facts = (type(self), self.data, self.spec, self.requires_grad, grad)
        return _rebuild, facts, (None, {"can_be_trained": self.can_be_trained})


def _rebuild(cls: type[Parameter], data: Any, spec: str | None, requires_grad: bool, grad: Any) -> Parameter:
    parameter = cls(data, spec, requires_grad=requires_grad)
    parameter.grad = grad
    return parameter


class TensorAttribute(Parameter):
    """A tensor that was assigned to an attribute: a parameter while it requires a gradient, else a buffer."""

    __slots__ = ()

    def __init__(self, data: StateValue, spec: str | None = None, *, requires_grad: bool) -> None:
        super().__init__(data, spec, requires_grad=requires_grad)
        self.can_be_trained = requires_grad

    def take(self, value: StateValue) -> bool:
        """Publish another tensor, and whether it requires a gradient. False for one of another type or shape."""
        if value.described() != self.value.described():
            return False
        kept = self.kept(value)
        kept.watch(self.leaf if value.requires_grad else None)
        self.can_be_trained = self.can_be_trained or value.requires_grad
        publish([(self, kept)])
        return True


class Buffer(Cell):
    """A constant of the state: a JSON value, or a tensor without a gradient."""

    __slots__ = ("__weakref__", "leaf")

    def __init__(self, value: Any) -> None:
        self.leaf = Leaf(self)
        super().__init__(self.kept(value))

    def kept(self, value: Any) -> Any:
        """The form in which a tensor or a frozen value is kept."""
        return value.kept_by(self) if isinstance(value, StateValue) else value

    @property
    def requires_grad(self) -> bool:
        return False

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if requires_grad:
            raise GradientError(
                "a buffer is not trained, so it requires no gradient; "
                "keep its tensor as an nn.Parameter, or as an attribute that was not registered"
            )


class Text(str):
    """The text of a parameter: a `str` in every respect, which also knows the Parameter that it was read from.

    It is a value, so it stays what it was when the parameter changes. Assigning its `data` changes the parameter.
    """

    __slots__ = ("parameter",)
    parameter: Parameter

    def __new__(cls, text: str, parameter: Parameter) -> "Text":
        self = str.__new__(cls, text)
        self.parameter = parameter
        return self

    def __str__(self) -> str:
        return str.__str__(self)

    @property
    def data(self) -> str:
        return str(self)

    @data.setter
    def data(self, text: str) -> None:
        self.parameter.data = text

    @property
    def spec(self) -> str | None:
        return self.parameter.spec

    @property
    def grad(self) -> Any:
        return self.parameter.grad

    @property
    def requires_grad(self) -> bool:
        return self.parameter.requires_grad

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)
