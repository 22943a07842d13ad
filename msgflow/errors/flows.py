"""Errors about flows."""

from collections.abc import Sequence

from msgflow._printable import with_caret
from msgflow.errors.root import MsgflowError


class FlowError(MsgflowError):
    """A flow that cannot be run."""


class FlowStructureError(FlowError, ValueError):
    """Steps that make no flow: a cycle, a name that is taken or unknown, a step that is none."""


class InputMismatch(FlowError, ValueError):
    """Another number of inputs, or other names, than a Diverter has branches for."""

    def __init__(self, message: str, *, inputs: int, branches: int) -> None:
        self.inputs, self.branches = inputs, branches
        super().__init__(message)


class NoMatch(FlowError, LookupError):
    """A value that fits no case of a Switch that has no default."""

    def __init__(self, value: object, cases: Sequence[str]) -> None:
        self.value, self.cases = value, list(cases)
        super().__init__(
            f"no case fits {value!r:.80}; there are: {', '.join(self.cases) or 'none'}. "
            "Add the case, or give default= for all others."
        )


class LoopLimit(FlowError, RuntimeError):
    """A loop whose condition to stop was not met in as many rounds as it may take."""

    def __init__(self, steps: int, hint: str) -> None:
        self.steps = steps
        super().__init__(f"the loop was not done after {steps} rounds, the most that it may take. {hint}")


class RefError(FlowError, LookupError):
    """A reference to a result that is not there."""

    def __init__(self, message: str, *, name: str) -> None:
        self.name = name
        super().__init__(message)


class BarrierTimeout(FlowError, TimeoutError):
    """A barrier that not all branches have reached in time."""

    def __init__(self, seconds: float, arrived: int, expected: int) -> None:
        self.arrived, self.expected = arrived, expected
        super().__init__(
            f"{arrived} of {expected} branches reached the barrier within {seconds:g} s; "
            "give it more time, or look at what the others are waiting for"
        )


class ExpressionError(FlowError, ValueError):
    """A flow expression that cannot be read, or a condition of it that has no answer; shows the place."""

    def __init__(self, problem: str, *, expression: str, line: int, column: int) -> None:
        self.expression, self.line, self.column = expression, line, column
        super().__init__(f"line {line}, column {column}: {problem}\n{with_caret(expression, line, column)}")
