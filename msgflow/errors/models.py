"""Errors about models that did not answer."""

from collections.abc import Iterable

from msgflow.errors.root import MsgflowError


class ModelError(MsgflowError):
    """A model that did not answer.

    `retryable` says whether the same request may succeed later; `retry_after_s` is what the server asked
    for, in seconds.
    """

    retryable = False

    def __init__(self, message: str, *, model: str = "", retry_after_s: float | None = None) -> None:
        self.model, self.retry_after_s = model, retry_after_s
        super().__init__(message)


class UnknownModel(ModelError, LookupError):
    """A model string that names no provider."""

    def __init__(self, spec: str, known: Iterable[str]) -> None:
        self.spec, self.known = spec, sorted(known)
        super().__init__(
            f"no provider for {spec!r}; known: {', '.join(self.known)}. Write 'provider/model'.", model=spec
        )


class MissingKey(ModelError):
    """A provider whose API key is not in the environment."""

    def __init__(self, spec: str, variable: str) -> None:
        self.variable = variable
        super().__init__(
            f"{spec} needs an API key: set the environment variable {variable}, or give api_key=.", model=spec
        )


class ModelUnreachable(ModelError, ConnectionError):
    """No connection, or one that broke before the answer was complete."""

    retryable = True


class ModelTimeout(ModelError, TimeoutError):
    """No complete answer within the timeout."""

    retryable = True


class ModelRefused(ModelError):
    """The server refused the request itself (4xx); trying again would not help."""

    def __init__(self, message: str, *, status: int, model: str = "") -> None:
        self.status = status
        super().__init__(message, model=model)


class ModelOverloaded(ModelError):
    """The server was too busy or failed (408, 409, 429, 5xx); the same request may succeed later."""

    retryable = True

    def __init__(self, message: str, *, status: int, model: str = "", retry_after_s: float | None = None) -> None:
        self.status = status
        super().__init__(message, model=model, retry_after_s=retry_after_s)


class BadModelResponse(ModelError, ValueError):
    """The server answered, but not in the protocol: malformed JSON, missing fields, a truncated stream."""


class ModelFileError(ModelError, OSError):
    """Weights that could not be fetched, or are not the bytes they should be."""


class ScriptError(ModelError, AssertionError):
    """A scripted model that was asked for more, or for less, than its script holds."""
