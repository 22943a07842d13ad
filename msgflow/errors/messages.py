"""Errors about Messages."""

from collections.abc import Sequence

from msgflow.errors.root import MsgflowError


class MessageError(MsgflowError, ValueError):
    """A Message that cannot do what was asked of it; `key` is the dotted path, `branches` who is at odds there."""

    def __init__(self, message: str, *, key: str = "", branches: Sequence[int] = ()) -> None:
        self.key, self.branches = key, tuple(branches)
        super().__init__(message)

    __str__ = Exception.__str__  # a KeyError would show the repr of its text


class MessageKeyError(MessageError, KeyError):
    """A path at which there is nothing."""


class MessageFrozen(MessageError, TypeError):
    """A change of a frozen Message, or of a dict or list that a Message holds."""


class MessageConflict(MessageError):
    """Branches, numbered from 0, that gave one path different values."""
