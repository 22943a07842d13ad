"""Runtime: a forward that is recorded once, planned, and run many times without making its arrays anew.

    with runtime: out = block(placeholder)     every operation is recorded, and computed as ever
    runtime.launch()                           the plan is made, and memory taken for it
    runtime.run()                              the same operations, on the numbers that there are now

What is recorded are operations, not Python: a run does not call the module again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Token
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np

from msgflow.errors import RecordError
from msgflow.tensor.operations import mode
from msgflow.tensor.runtime.checking import check
from msgflow.tensor.runtime.executing import Launched
from msgflow.tensor.runtime.plan import Plan
from msgflow.tensor.runtime.planning import planned
from msgflow.tensor.runtime.recording import Recording


class Runtime:
    """Records the operations of a forward, and runs them again on new numbers.

    In the block, every operation of this context is recorded, in the threads and tasks of msgflow as well; no tape for
    gradients is kept. The results that somebody holds at `launch` are its outputs: each run writes their numbers.
    Wrong use raises RecordError. A Runtime has one recording; a changed forward needs another one.
    """

    def __init__(self) -> None:
        self._recording: Recording | None = None
        self._launched: Launched | None = None
        self._plan: Plan | None = None
        self._entered: tuple[Token[Any], Any] | None = None
        self._free = [None]  # taken by who launches, runs or stops: pop and append are atomic

    def __enter__(self) -> Self:
        if _records():
            raise RecordError("another Runtime records already; leave its block before this one begins")
        with self._alone("record"):
            if self._recording is not None:
                raise RecordError("this Runtime has a recording, or is making one; record with another mt.Runtime()")
            self._recording = Recording()
        quiet = np.errstate(all="ignore")  # placeholders hold zeros
        quiet.__enter__()
        self._entered = mode.set(self._recording), quiet
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._recording is not None and self._entered is not None
        token, quiet = self._entered
        self._recording.is_open = False
        self._entered = None
        if error is not None:
            self._recording = None
        mode.reset(token)
        quiet.__exit__(kind, error, traceback)

    def launch(self, plan: Plan | None = None) -> None:
        """Plan what was recorded and take memory for it; with `plan`, one that was saved, after checking that it fits.

        The results that are held now are the outputs. They keep their numbers until the first run.
        """
        with self._alone("launch"):
            if self._launched is not None:
                raise RecordError("launch() after launch(): run() it as often as you like, or stop() it first")
            if self._recording is None:
                raise RecordError("launch() before anything was recorded: call a module in `with runtime:` first")
            if self._recording.is_open:
                raise RecordError("launch() inside the block that records: leave the block first")
            if plan is not None and not isinstance(plan, Plan):
                raise RecordError(f"launch(plan={plan!r:.40}) takes an mt.Plan; mt.Plan.load(path) reads one")
            forward = self._recording.forward()
            if plan is None:
                plan = planned(forward.graph)
            else:
                check(plan, forward.graph)
            self._launched = Launched(forward, plan, self._recording.looked_at())
            self._plan = plan

    def run(self, iter: int = 1) -> None:
        """Compute all outputs, `iter` times, from what placeholders and modules hold at each time."""
        if isinstance(iter, bool) or not isinstance(iter, int) or iter < 1:
            raise RecordError(f"run(iter={iter!r:.40}): iter is how many times to run, a whole number from 1")
        if _records():
            raise RecordError("run() while a Runtime records: the run would not be recorded; leave the block first")
        with self._alone("run"):
            if self._launched is None:
                self._not_launched()
            for _ in range(iter):
                self._launched.run()

    def _not_launched(self) -> NoReturn:
        if self._plan is not None:
            raise RecordError("run() after stop(): launch() it again first")
        raise RecordError("run() before launch(): record a forward in `with runtime:`, call launch() once, then run()")

    def stop(self) -> None:
        """Give the memory back. The outputs keep the numbers of the last run; launch() starts it again."""
        with self._alone("stop"):
            self._launched = None

    @property
    def plan(self) -> Plan:
        """What it does, from launch() on."""
        if self._plan is None:
            raise RecordError("there is a plan from launch() on")
        return self._plan

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Runtime belongs to the tensors that it recorded; record the forward of the copy anew")

    @contextmanager
    def _alone(self, what: str) -> Iterator[None]:
        try:
            self._free.pop()
        except IndexError:
            raise RecordError(
                f"{what}() while this Runtime is in use in another thread: it has one set of outputs; give each thread "
                "a Runtime of its own"
            ) from None
        try:
            yield
        finally:
            self._free.append(None)


def _records() -> bool:
    """Whether what is done here is being recorded; a task that was begun in a block may outlive it."""
    recorder = mode.get()
    return isinstance(recorder, Recording) and recorder.is_open
