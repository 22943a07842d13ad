"""Parameter: a value of the state that may be optimised, and Text, the way a text parameter is read."""

from typing import Any, Self

from msgflow._frozen import freeze
from msgflow._version_clock import Cell, publish


class Parameter(Cell):
    """A prompt, or another JSON value such as a list of examples, that is saved, swapped and optimised.

    `spec` says what the value is for ("system_prompt"), for people and for optimisers. Parameters have identity:
    two with equal data stay two. Setting `data` publishes a new value for all calls that begin after it.
    Raises TypeError for data that no state file can hold.
    """

    __slots__ = ("__weakref__", "grad", "requires_grad", "spec")

    def __init__(self, data: Any, spec: str | None = None, *, requires_grad: bool = True) -> None:
        self.spec, self.requires_grad, self.grad = spec, requires_grad, None
        super().__init__(self.kept(freeze(data, "a parameter")))

    def kept(self, frozen: Any) -> Any:
        """The form in which a frozen value is kept; raises what is wrong with it."""
        return Text(frozen, self) if isinstance(frozen, str) else frozen

    @property
    def data(self) -> Any:
        """The value itself: a plain `str`, or a JSON value that cannot be changed in place."""
        value = self.value
        return str(value) if isinstance(value, Text) else value

    @data.setter
    def data(self, data: Any) -> None:
        if self.is_text != isinstance(data, str):
            was, given = ("text", type(data).__name__) if self.is_text else ("not text", "text")
            raise TypeError(f"this parameter holds {was} and cannot become {given}; register a new Parameter instead")
        publish([(self, self.kept(freeze(data, "a parameter")))])

    @property
    def is_text(self) -> bool:
        return isinstance(self.stored[0], str)  # in one version as in any

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        self.requires_grad = requires_grad
        return self

    def __repr__(self) -> str:
        spec = f", spec={self.spec!r}" if self.spec is not None else ""
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter({self.data!r}{spec}{frozen})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.data, self.spec, self.requires_grad, self.grad)


def _rebuild(cls: type[Parameter], data: Any, spec: str | None, requires_grad: bool, grad: Any) -> Parameter:
    parameter = cls(data, spec, requires_grad=requires_grad)
    parameter.grad = grad
    return parameter


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
