"""Errors of rooms that have only one or two."""

from collections.abc import Sequence

from msgflow.errors.root import MsgflowError


class SchemaError(MsgflowError, TypeError):
    """A signature, a tool or a type that cannot be described by a JSON Schema."""


class GuardRefused(MsgflowError, ValueError):
    """An input (`on` is "pre") or an output ("post") that a guard did not let pass.

    The text is `message` where the guard has one; `module` is the name of the guarded module's class.
    """

    def __init__(self, module: str, on: str, message: str | None = None, cause: Exception | None = None) -> None:
        self.module, self.on, self.message = module, on, message
        if message is None:
            message = f"a guard refused the {'input' if on == 'pre' else 'output'} of {module}"
            if cause is not None:
                message += f", because its check raised {type(cause).__name__}: {cause}"
        super().__init__(message)


class DataError(MsgflowError, ValueError):
    """Documents, a folder or an index that hold nothing usable."""


class RegistryError(MsgflowError):
    """A name that is taken, or that nothing can be registered under."""


class RegistryLookupError(RegistryError, AttributeError):
    """A group, or a thing in a group, that is not there."""

    def __init__(self, message: str, *, wanted: str, known: Sequence[str]) -> None:
        self.wanted, self.known = wanted, list(known)
        super().__init__(message)


class DrawingError(MsgflowError):
    """Something that cannot be found or drawn, or a picture that cannot be written."""


class BridgeError(MsgflowError, RuntimeError):
    """A blocking call at a place where nothing could ever wake the caller."""
