"""Pipeline: one step after the other."""

from typing import Any, Self

from msgflow.flow.refs import Scope, given
from msgflow.flow.steps import Flow, note_place


class Pipeline(Flow):
    """Each step gets the result of the one before; the first one gets what the pipeline was called with.

    Steps are Modules and functions, by position or by name: `Pipeline(a, b)`, `Pipeline(f1=a, f2=b)`. An empty one
    returns its input.
    """

    _keeps_results = _takes_steps = True

    def __init__(self, /, *steps: Any, **named: Any) -> None:
        super().__init__()
        for index, step in enumerate(steps):
            self._add(str(index), step)
        for name, step in named.items():
            self._add(name, step)

    def add(self, name: str, step: Any, /, *args: Any, **kwargs: Any) -> Self:
        """Add a step at the end. With arguments it gets those in place of the result before: `flow.input`,
        `flow.ref("name")`, parts of them, and values as they are.
        """
        return self._add(name, step, args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        steps, bindings = self._shape()
        if not steps:
            return given(args, kwargs)
        name, step = steps[0]
        # What `with self._scope(...)` does, in half the time: this is what a pipeline costs.
        scope = Scope(self, args, kwargs).__enter__() if self._is_scope else None
        try:
            for name, step in steps:
                if name in bindings:
                    args, kwargs = bindings[name](args, kwargs)
                value = step(*args, **kwargs)
                if scope is not None:
                    scope.results[name] = value
                args, kwargs = (value,), {}
        except Exception as error:
            note_place(error, self, name, step)
            raise
        finally:
            if scope is not None:
                scope.__exit__()
        return value
