"""Parallel and Diverter: several branches at once."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import isawaitable
from typing import Any, Self

from msgflow._limits import count_or_none
from msgflow._message import Message
from msgflow.errors import FlowStructureError, InputMismatch
from msgflow.flow.branches import OnError, checked_on_error, run_branches
from msgflow.flow.refs import Arguments
from msgflow.flow.steps import Flow, note_place
from msgflow.nn.functional import TaskError
from msgflow.nn.module import Module

Given = tuple[tuple[Any, ...], dict[str, Any]]


class Parallel(Flow):
    """All branches get the same input, at once; returns a tuple of their results, in order.

    `as_dict=True` returns a dict by name; `reduce` is called with the tuple or dict, and its result is returned.
    At most `limit` branches run at a time. One failure cancels the others and is raised as it is; with
    `on_error="collect"` a TaskError stands for each branch that failed.

    A Message is given to the branches as a view, which cannot be changed.
    """

    _takes_steps = True

    def __init__(
        self,
        /,
        *branches: Any,
        as_dict: bool = False,
        reduce: Callable[[Any], Any] | None = None,
        limit: int | None = None,
        on_error: OnError = "cancel",
        **named: Any,
    ) -> None:
        super().__init__()
        if not isinstance(as_dict, bool):
            raise TypeError(f"as_dict is True or False, not {as_dict!r:.80}; a branch cannot have this name")
        checked_on_error(on_error)
        if isinstance(reduce, Module):
            raise FlowStructureError(
                "reduce is a function; put a Module after the Parallel, in a Pipeline, where it is part of the state"
            )
        if reduce is not None and not callable(reduce):
            raise TypeError(f"reduce is a function of the results, not {reduce!r:.80}")
        self.as_dict, self.reduce, self.on_error = as_dict, reduce, on_error
        self.limit = count_or_none(limit)
        for index, branch in enumerate(branches):
            self._add(str(index), branch)
        for name, branch in named.items():
            self._add(name, branch)

    def add(self, name: str, branch: Any, /, *args: Any, **kwargs: Any) -> Self:
        """Add a branch. With arguments it gets those in place of the input: references, and values as they are."""
        return self._add(name, branch, args, kwargs)

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope(args, kwargs):
            branches, bindings = self._shape()
            given = self._inputs([name for name, _ in branches], args, kwargs)
            calls = [
                partial(self._branch, index, name, step, bindings.get(name), *given[index])
                for index, (name, step) in enumerate(branches)
            ]
            results = await run_branches(calls, self.limit)
        output: Any = tuple(results)
        if self.as_dict:
            output = {name: result for (name, _), result in zip(branches, results, strict=True)}
        if self.reduce is None:
            return output
        reduced = self.reduce(output)
        return await reduced if isawaitable(reduced) else reduced

    def _inputs(self, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Given]:
        """What each branch is called with."""
        return [_viewed(args, kwargs)] * len(names)

    async def _branch(
        self,
        index: int,
        name: str,
        step: Module,
        bound: Arguments | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        try:
            if bound is not None:
                args, kwargs = bound(args, kwargs)
            return await step.acall(*args, **kwargs)
        except Exception as error:
            note_place(error, self, name, step)
            if self.on_error == "collect":
                return TaskError(error, index)
            raise

    def extra_repr(self) -> str:
        options = {
            "as_dict": self.as_dict or None,
            "reduce": getattr(self.reduce, "__name__", self.reduce),
            "limit": self.limit,
            "on_error": None if self.on_error == "cancel" else self.on_error,
        }
        return ", ".join(f"{name}={value}" for name, value in options.items() if value is not None)


class Diverter(Parallel):
    """The i-th input goes to the i-th branch, all at once; otherwise as Parallel.

    Inputs are the arguments, one tuple or list of them, or keywords (or one dict) by the names of the branches.
    Raises InputMismatch where there are not as many inputs as branches.
    """

    def _inputs(self, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Given]:
        inputs: Any = args
        if kwargs:
            if args:
                raise InputMismatch(
                    "a Diverter gets its inputs in order or by name, not both",
                    inputs=len(args) + len(kwargs),
                    branches=len(names),
                )
            inputs = kwargs
        elif len(args) == 1 and (isinstance(args[0], tuple | list) or _is_by_name(args[0], names)):
            inputs = args[0]
        if isinstance(inputs, Mapping):
            if inputs.keys() != set(names):
                raise InputMismatch(
                    f"the inputs are named {', '.join(map(str, inputs)) or 'nothing'}, the branches {', '.join(names)}",
                    inputs=len(inputs),
                    branches=len(names),
                )
            return [((inputs[name],), {}) for name in names]
        if len(inputs) != len(names):
            raise InputMismatch(
                f"{len(inputs)} inputs came for {len(names)} branches; the i-th input goes to the i-th branch",
                inputs=len(inputs),
                branches=len(names),
            )
        return [((value,), {}) for value in inputs]


def _is_by_name(value: Any, names: list[str]) -> bool:
    return isinstance(value, dict) and (len(names) != 1 or value.keys() == set(names))


def _viewed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
    if not any(isinstance(value, Message) for value in (*args, *kwargs.values())):
        return args, kwargs
    return (
        tuple(value.view() if isinstance(value, Message) else value for value in args),
        {name: value.view() if isinstance(value, Message) else value for name, value in kwargs.items()},
    )
