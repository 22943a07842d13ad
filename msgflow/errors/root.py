"""The root of all errors."""

from typing import Any


class MsgflowError(Exception):
    """Root of all errors raised by msgflow on purpose. They can be pickled, with their facts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[MsgflowError], args: tuple[Any, ...], facts: dict[str, Any]) -> MsgflowError:
    # Without __init__, whose arguments are not known any more. An OSError is made otherwise, and leaves args to it.
    error = (OSError if issubclass(kind, OSError) else Exception).__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error
