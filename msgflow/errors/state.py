"""Errors about the state of modules, and the files that hold it."""

from collections.abc import Sequence

from msgflow.errors.root import MsgflowError


class StateError(MsgflowError):
    """Something about a module's state."""


class NotJson(StateError, TypeError):
    """A value that no state file can hold; the message names its place and its type."""


class StateDictError(StateError, ValueError):
    """A state dict that does not fit: every problem at once, and nothing was changed."""

    def __init__(
        self,
        module: str,
        missing: Sequence[str],
        unexpected: Sequence[str],
        mismatched: Sequence[str],
        hint: str = "Give a value for every key, or load what fits with strict=False.",
    ) -> None:
        self.missing, self.unexpected, self.mismatched = list(missing), list(unexpected), list(mismatched)
        lines = [f"the state does not fit {module}; nothing was changed:"]
        lines += [f"  {key}: missing" for key in missing]
        lines += [f"  {key}: unexpected, {module} has no such key" for key in unexpected]
        lines += [f"  {problem}" for problem in mismatched]
        super().__init__("\n".join([*lines, hint]))


class StaleState(StateError, RuntimeError):
    """Training inside a call, which goes on reading the values that it began with."""


class StateFileError(StateError, ValueError):
    """A state that cannot be written to, or read from, a file exactly."""


class StateFileMissing(StateFileError, FileNotFoundError):
    """No state file at a path."""
