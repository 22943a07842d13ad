"""Switch and IfElse: which step is to be called."""

from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, get_origin

from msgflow._leaf import resolved
from msgflow.errors import FlowStructureError, NoMatch
from msgflow.flow.refs import given
from msgflow.flow.steps import At, Flow
from msgflow.nn.module import Module


class Choosing(Flow):
    """A flow that asks a question before it goes on. A question is a function, called in place, or a Module."""

    def _set_question(self, name: str, question: Any) -> None:
        """Keep what is asked: a Module as a step, so that its prompts are state; a function as it is."""
        if isinstance(question, Module):
            self._set_step(name, question)
        elif isinstance(question, type) and issubclass(question, Module):
            raise FlowStructureError(f"{name} is a class of modules; give a module, such as {question.__name__}()")
        elif callable(question):
            self.__dict__[name] = question
        else:
            raise TypeError(f"{name} is a function or a Module, not {question!r:.80} of type {type(question).__name__}")

    def _asks(self, name: str) -> bool:
        return name in self._modules or name in self.__dict__

    def _ask(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in self._modules:
            with At(self, name) as question:
                args, kwargs = self._arguments(name, args, kwargs)
                return question(*args, **kwargs)
        return resolved(self.__dict__[name](*args, **kwargs))


def shown(question: Any) -> str:
    """A predicate or a value, in a word."""
    name = getattr(question, "__name__", None)
    return name if isinstance(name, str) and name else repr(question)


class IfElse(Choosing):
    """Calls `then` where the condition holds for the input, else `otherwise`; without that the input is returned."""

    def __init__(self, condition: Callable[..., Any], then: Any, otherwise: Any = None) -> None:
        super().__init__()
        self._set_question("condition", condition)
        self._set_step("then", then)
        if otherwise is not None:
            self._set_step("otherwise", otherwise)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope(args, kwargs):
            name = "then" if self._ask("condition", args, kwargs) else "otherwise"
            if name not in self._modules:
                return given(args, kwargs)
            with At(self, name) as step:
                args, kwargs = self._arguments(name, args, kwargs)
                return step(*args, **kwargs)

    def extra_repr(self) -> str:
        return "" if "condition" in self._modules else shown(self.condition)


class Switch(Choosing):
    """Calls the step of the first case that fits the input, else `default`; raises NoMatch where there is none.

    A case is a value (compared with `==`), a predicate (a function), or a class or several, as in `int | float`
    (`isinstance`). `key` is a function or a Module that is called first; the cases are then compared with what it
    returns. The step always gets the input.
    """

    def __init__(
        self,
        cases: Mapping[Any, Any] | Iterable[tuple[Any, Any]],
        *,
        default: Any = None,
        key: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        pairs = list(cases.items() if isinstance(cases, Mapping) else cases)
        self._cases: dict[str, Any] = {}
        if key is not None:
            self._set_question("key", key)
        for index, (case, step) in enumerate(pairs):
            _check_case(case)
            name = self._case_name(case, index)
            self._set_step(name, step)
            self._cases[name] = case
        if default is not None:
            self._set_step("default", default)

    def _case_name(self, case: Any, index: int) -> str:
        """A step's name: what the case is, where that can be a name and is not taken."""
        name = case if isinstance(case, str) else str(case) if isinstance(case, int) else shown(case)
        is_name = name.isidentifier() or (isinstance(case, int) and name.isdecimal())
        taken = name.startswith("_") or name in {"key", "default", *self._modules, *self.__dict__}
        return name if is_name and not taken else f"case_{index}"

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope(args, kwargs):
            name = self._chosen(args, kwargs)
            with At(self, name) as step:
                args, kwargs = self._arguments(name, args, kwargs)
                return step(*args, **kwargs)

    def _chosen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        value = self._ask("key", args, kwargs) if self._asks("key") else given(args, kwargs)
        for name, case in tuple(self._cases.items()):
            if name in self._modules and _fits(case, value):
                return name
        if "default" not in self._modules:
            raise NoMatch(value, [shown(case) for case in self._cases.values()])
        return "default"

    def extra_repr(self) -> str:
        return f"key={shown(self.key)}" if "key" in self.__dict__ else ""


def _check_case(case: Any) -> None:
    if isinstance(case, Module):
        raise FlowStructureError("a Module cannot be a case; give it as key=, and what it returns as cases")
    if get_origin(case) is not None and not isinstance(case, UnionType):
        raise FlowStructureError(
            f"{case} cannot be a case, because nobody looks into the value; give a class, or classes as in int | str"
        )


def _fits(case: Any, value: Any) -> bool:
    if isinstance(case, type | UnionType):
        return isinstance(value, case)
    return bool(resolved(case(value)) if callable(case) else value == case)
