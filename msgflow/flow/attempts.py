"""Steps that may fail: tried again, given a time limit, replaced by another."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import anyio

from msgflow._bridge import gather, wait
from msgflow._bridge.branches import add_notes, is_after_cancelling
from msgflow._limits import checked_count, checked_seconds
from msgflow.errors import FlowStructureError
from msgflow.flow.steps import At, Flow, label
from msgflow.trace import current_span, names, tracer

MAX_PAUSE_S = 30.0
Errors = type[Exception] | tuple[type[Exception], ...]


class Retry(Flow):
    """Calls its step again where that raises one of `on`, up to `times` calls in all; then raises the last error.

    `backoff` is the pause before the second call, in seconds; it doubles each time, to 30 s at most, and is shortened
    by up to a half at random, so that many callers do not come back at once. A function gets the number of calls made
    so far and returns the pause.
    """

    def __init__(
        self, step: Any, *, times: int = 3, backoff: float | Callable[[int], float] = 0.5, on: Errors = (Exception,)
    ) -> None:
        super().__init__()
        self.times, self.on = checked_count(times, "times"), _errors(on)
        self.backoff = backoff if callable(backoff) else _checked_pause(backoff)
        self._set_step("step", step)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope(args, kwargs):
            made = 0
            while True:
                made += 1
                try:
                    with At(self, "step") as step:
                        bound, by_name = self._arguments("step", args, kwargs)
                        return step(*bound, **by_name)
                except self.on as error:
                    if made == self.times or is_after_cancelling(error):
                        if made > 1:
                            add_notes(error, f"it was tried {made} times")
                        raise
                    seconds = self._pause(made)
                    if tracer() is not None:
                        current_span().add_event(
                            "retry", {"attempt": made, names.ERROR_TYPE: _kind(error), "pause_s": seconds}
                        )
                if seconds > 0:
                    wait(anyio.sleep(seconds))

    def _pause(self, made: int) -> float:
        if callable(self.backoff):
            return _checked_pause(self.backoff(made))
        longest = min(self.backoff * 2.0 ** min(made - 1, 64), MAX_PAUSE_S)
        return longest * random.uniform(0.5, 1.0)

    def extra_repr(self) -> str:
        return f"times={self.times}"


class Timeout(Flow):
    """Raises TimeoutError where its step is not done in time, and cancels it.

    A function in a worker thread cannot be interrupted: nobody waits for it any longer. Nor can a `def forward` that
    computes without waiting; set `blocking = True` on its class.
    """

    def __init__(self, step: Any, seconds: float) -> None:
        super().__init__()
        self.seconds = checked_seconds(seconds, "seconds")
        self._set_step("step", step)

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        with self._scope(args, kwargs), anyio.move_on_after(self.seconds):
            # In a task of its own: a stack of its own, too, however deep flows nest.
            (result,) = await gather([partial(self._timed, args, kwargs)], lone_in_place=False, as_flows=False)
            return result
        raise TimeoutError(f"{label(self['step'])} was not done within {self.seconds:g} s")

    async def _timed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with At(self, "step") as step:
            args, kwargs = self._arguments("step", args, kwargs)
            return await step.acall(*args, **kwargs)

    def extra_repr(self) -> str:
        return f"{self.seconds:g} s"


class Fallback(Flow):
    """Calls its steps in order until one does not raise one of `on`; all get the same input.

    Where all fail, the error of the last is raised, with a note of each of the others.
    """

    def __init__(self, /, *steps: Any, on: Errors = (Exception,), **named: Any) -> None:
        super().__init__()
        self.on = _errors(on)
        for index, step in enumerate(steps):
            self._add(str(index), step)
        for name, step in named.items():
            self._add(name, step)
        if not self._modules:
            raise TypeError("a fallback needs steps to call: fallback(first, second)")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        failed: list[str] = []
        with self._scope(args, kwargs):
            for name in tuple(self._modules):
                try:
                    with At(self, name) as step:
                        bound, by_name = self._arguments(name, args, kwargs)
                        return step(*bound, **by_name)
                except self.on as error:
                    if is_after_cancelling(error):
                        raise
                    last = error
                    failed.append(f"step {name} failed before: {error!r:.200}")
                    if tracer() is not None:
                        current_span().add_event("fallback", {"step": name, names.ERROR_TYPE: _kind(error)})
        if not failed:
            raise FlowStructureError("this Fallback has no steps left; give it some, as in fallback(first, second)")
        try:
            add_notes(last, *failed[:-1])
            raise last
        finally:
            del last  # else the error, its traceback and this frame would hold each other


def _checked_pause(value: Any) -> float:
    """A number of seconds from 0."""
    return 0.0 if value == 0 and not isinstance(value, bool) else checked_seconds(value, "backoff")


def _kind(error: Exception) -> str:
    return type(error).__qualname__


def _errors(on: Any) -> tuple[type[Exception], ...]:
    kinds: tuple[Any, ...] = on if isinstance(on, tuple) else (on,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"on is a class of Exceptions or a tuple of them, not {kind!r:.80}")
    return kinds


def retry(
    step: Any, times: int = 3, *, backoff: float | Callable[[int], float] = 0.5, on: Errors = (Exception,)
) -> Retry:
    """A step that is called again where it fails: see Retry."""
    return Retry(step, times=times, backoff=backoff, on=on)


def timeout(step: Any, seconds: float) -> Timeout:
    """A step with a time limit in seconds: see Timeout."""
    return Timeout(step, seconds)


def fallback(*steps: Any, on: Errors = (Exception,), **named: Any) -> Fallback:
    """The first of several steps that does not fail: see Fallback."""
    return Fallback(*steps, on=on, **named)
