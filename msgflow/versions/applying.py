"""What follows a tag and what watches a file have in common: states are loaded into a running module, or refused."""

import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any, Self
from weakref import ref

import anyio

from msgflow._bridge import launch, wait
from msgflow.nn.module import Module
from msgflow.trace import Recording, mark_failed, tracer
from msgflow.trace.names import STATE_DIGEST
from msgflow.versions.off_the_loop import off_the_loop

log = logging.getLogger("msgflow.versions")

SPAN = "apply version"
SOURCE = "msgflow.version.source"
RESULT = "msgflow.version.result"
MAX_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A state that was not loaded, and why. `id` is "" where it has none: a file that is no state."""

    id: str
    error: Exception


class Outage:
    """Something that fails for a while: said once, tried again after pauses that grow."""

    def __init__(self, what: str, poll_s: float) -> None:
        self._what, self._poll_s = what, poll_s
        self.pause_s, self.is_on = poll_s, False

    def failed(self, error: Exception) -> None:
        if not self.is_on:
            log.warning("%s failed and will be tried again: %s: %s", self._what, type(error).__name__, error)
        self.is_on = True
        self.pause_s = max(self._poll_s, min(2 * self.pause_s, MAX_PAUSE_S))

    def over(self) -> None:
        if self.is_on:
            log.info("%s works again", self._what)
        self.pause_s, self.is_on = self._poll_s, False


class Applying(ABC):
    """Looks again and again, in the background, for a state to load into a module.

    It ends with `stop()`, at the end of its `with` block, or with the module, which it does not keep alive. A forked
    process has to begin its own.
    """

    version: str
    """The id of the state that was loaded last."""
    refused: Refusal | None
    """The last state that did not fit; the module went on with the one before."""

    def __init__(self, module: Module, source: str, poll_s: float) -> None:
        if not (isinstance(poll_s, int | float) and 0 < poll_s < math.inf):
            raise ValueError(f"poll_s is the pause between two looks in seconds, above 0; got {poll_s!r}")
        if not isinstance(module, Module):
            raise TypeError(f"only a Module has a state that can be swapped, not {type(module).__name__}")
        self.version, self.refused = "", None
        self._module, self._source, self._poll_s = ref(module), source, poll_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._source}, version={self.version!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nothing is loaded any more once this has returned."""
        # States are loaded on the background loop, so none is being loaded when the task there has ended.
        if not self._launched.ended and self._process == os.getpid():
            off_the_loop(lambda: wait(self._launched.end()))

    def _start(self) -> None:
        self._process = os.getpid()
        # In a context of its own: whoever calls may be in a span, in a call that is pinned, in a transaction.
        self._launched = Context().run(launch, self._keep_looking(), background=True)

    async def _keep_looking(self) -> None:
        outage = Outage(f"looking at {self._source}", self._poll_s)
        while True:
            await anyio.sleep(outage.pause_s)
            if self._module() is None:
                return
            try:
                await self._look()
            except Exception as error:
                outage.failed(error)  # whatever it was: the module runs on, and the next look may succeed
            else:
                outage.over()

    @abstractmethod
    async def _look(self) -> None:
        """Load what is new, if anything is."""

    def _load(self, id_: str, state: Mapping[str, Any]) -> None:
        """Publish a state in the module, all at once. Raises where it does not fit, and nothing has changed then."""
        module = self._module()
        if module is not None and id_ != self.version:
            module.load_state_dict(state)
            self.version = id_
            self._record(id_, None)

    def _refuse(self, id_: str, error: Exception) -> None:
        _let_go(error)
        name = f" {id_}" if id_ else ""
        log.warning("%s: version%s was refused, %s goes on: %s", self._source, name, self.version, error)
        self._record(id_, error)
        self.refused = Refusal(id_, error)  # last: whoever sees it finds the log line and the span

    def _record(self, id_: str, error: Exception | None) -> None:
        active = tracer()
        if active is None:
            return
        attributes = {SOURCE: self._source, STATE_DIGEST: id_, RESULT: "refused" if error else "applied"}
        with Recording(active, SPAN, attributes) as span:
            if error is not None:
                mark_failed(span, error)


def _let_go(error: BaseException | None) -> None:
    """Empty the frames of a traceback, which would keep the module alive."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
