"""Ask again where that may help."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from msgflow.errors import BadModelResponse, ModelError
from msgflow.messages import ModelEvent, Request, Response
from msgflow.models.protocol import Model

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")


class Retried:
    """A model that asks its model again after an error that says `retryable`.

    At most `attempts` in all. The waits grow from half a second, at random, to at most `max_wait_s`, and are never
    shorter than the server asked for; where it asked for more than `max_wait_s`, its error is raised at once. A
    stream is begun again only as long as nothing of it was seen. The last error is raised, with a note of how many
    attempts there were.
    """

    def __init__(
        self,
        model: Model,
        *,
        attempts: int = 3,
        max_wait_s: float = 30.0,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts counts the first one, so it is at least 1; got {attempts}")
        self.model, self.attempts, self.max_wait_s, self._sleep = model, attempts, max_wait_s, sleep
        self.spec, self.provider, self.name, self.profile = model.spec, model.provider, model.name, model.profile

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r})"

    async def complete(self, request: Request) -> Response:
        began = time.monotonic()
        try:
            return await self.model.complete(request)
        except ModelError as error:
            if not error.retryable:
                raise
            first = error
        return await self._again(first, began, lambda: self.model.complete(request))

    async def stream(self, request: Request) -> AsyncIterator[ModelEvent]:
        began = time.monotonic()
        opened = _Opened(self.model, request)
        try:
            try:
                event = await opened.first()
            except ModelError as error:
                if not error.retryable:
                    raise
                event = await self._again(error, began, opened.first)
            yield event
            async for event in opened.events:
                yield event
        finally:
            await opened.close()

    async def _again(self, first: ModelError, began: float, ask: Callable[[], Awaitable[T]]) -> T:
        """Go on after a first failure, which is replayed, so that tenacity counts and waits for it as well."""
        from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

        made = 0
        backoff = wait_random_exponential(multiplier=0.5, max=self.max_wait_s)

        async def attempt() -> T:
            nonlocal made
            made += 1
            if made == 1:
                raise first
            return await ask()

        def wait(state: "RetryCallState") -> float:
            return max(_asked_wait(state), backoff(state))

        def stop(state: "RetryCallState") -> bool:
            return made >= self.attempts or _asked_wait(state) > self.max_wait_s

        retrying = AsyncRetrying(
            sleep=self._sleep, stop=stop, wait=wait, retry=retry_if_exception(_is_retryable), reraise=True
        )
        try:
            return await retrying(attempt)
        except ModelError as error:
            error.add_note(self._note(error, made, time.monotonic() - began))
            raise

    def _note(self, error: ModelError, made: int, seconds: float) -> str:
        attempts = "1 attempt" if made == 1 else f"{made} attempts"
        note = f"{self.spec} gave up after {attempts} over {seconds:.1f} s"
        if error.retryable and (error.retry_after_s or 0.0) > self.max_wait_s:
            note += f": the server asked for {error.retry_after_s:g} s, and max_wait_s is {self.max_wait_s:g}"
        return note


class _Opened:
    """A stream that can be begun again until its first event has come."""

    def __init__(self, model: Model, request: Request) -> None:
        self._model, self._request = model, request
        self.events: AsyncIterator[ModelEvent] = model.stream(request)
        self._begun = False

    async def first(self) -> ModelEvent:
        if self._begun:
            await self.close()
            self.events = self._model.stream(self._request)
        self._begun = True
        async for event in self.events:
            return event
        raise BadModelResponse(f"{self._model.spec} streamed nothing, not even Finished", model=self._model.spec)

    async def close(self) -> None:
        if hasattr(self.events, "aclose"):
            await self.events.aclose()


def _is_retryable(error: BaseException) -> bool:
    return isinstance(error, ModelError) and error.retryable


def _asked_wait(state: "RetryCallState") -> float:
    error = state.outcome.exception() if state.outcome else None
    return (error.retry_after_s or 0.0) if isinstance(error, ModelError) else 0.0
