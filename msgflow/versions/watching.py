"""A module that goes wherever a file goes that people edit."""

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from msgflow._bridge import in_thread
from msgflow.errors import MsgflowError, VersionStoreError
from msgflow.nn.module import Module
from msgflow.state import load
from msgflow.state.digest import digest
from msgflow.versions.applying import Applying, Outage, log
from msgflow.versions.off_the_loop import off_the_loop
from msgflow.versions.state_file import Content, StateFile

# Editors write in steps, and delete before they write: what is broken for a shorter time is not worth a word.
GRACE_S = 1.0


class Watcher(Applying):
    """Loads what is in a state file: now, and whenever it has changed. Raises what the first state raises.

    `commit(state, message)`, which may block, is called for each state that was loaded, in order; while it raises
    VersionStoreError it is called again.
    """

    def __init__(
        self,
        module: Module,
        path: str | os.PathLike[str],
        commit: Callable[[Mapping[str, Any], str], object] | None = None,
        *,
        poll_s: float,
    ) -> None:
        super().__init__(module, f"file {os.fspath(path)!r}", poll_s)
        self._file = off_the_loop(StateFile, path)
        self._commit, self._edits = commit, deque[Mapping[str, Any]]()
        self._commits, self._commit_at = Outage(f"committing {self._source}", poll_s), 0.0
        state = off_the_loop(load, self._file.path)
        self._load(digest(state), state)
        if commit is not None:
            commit(state, self._message())
        self._start()

    async def _look(self) -> None:
        content = await in_thread(self._file.look, time.monotonic())
        if content is not None:
            self._take(content)
        if self._edits and time.monotonic() >= self._commit_at:
            await self._commit_edits()

    def _take(self, content: Content) -> None:
        id_ = ""
        try:
            state = content.state()
            id_ = digest(state)
            is_new = id_ != self.version
            self._load(id_, state)
        except Exception as error:
            if content.age_s < GRACE_S:
                return
            self._refuse(id_, error)
        else:
            if is_new and self._commit is not None:
                self._edits.append(state)
        self._file.taken = content.hash

    async def _commit_edits(self) -> None:
        try:
            while self._edits and self._commit is not None:
                await in_thread(self._commit, self._edits[0], self._message())
                self._edits.popleft()
        except VersionStoreError as error:
            self._commits.failed(error)
            self._commit_at = time.monotonic() + self._commits.pause_s
        except MsgflowError as error:
            self._edits.popleft()
            log.warning("%s: an edit was loaded but not committed: %s", self._source, error)
        else:
            self._commits.over()

    def _message(self) -> str:
        return f"edited {self._file.path.name}".encode("utf-8", "backslashreplace").decode()


def watch(module: Module, path: str | os.PathLike[str], *, poll_s: float = 0.25) -> Watcher:
    """Load a state file (any format of `mf.load`) into a module, now and whenever it is edited.

    The file is looked at every `poll_s` seconds, in the background, as long as the module lives, and loaded when it
    has not changed for one look. While it is broken, does not fit or is gone, the module keeps running on the last good
    state; that is reported when it stays so for a second. The first content must fit.

    Raises StateFileError and StateFileMissing as `mf.load` does, and StateDictError.
    """
    return Watcher(module, path, poll_s=poll_s)
