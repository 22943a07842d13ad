"""A state file that is being edited: what is in it, once it has come to rest."""

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgflow.state import load

# Clocks of file systems are coarse: two writes within this time may leave the same time and size behind.
COARSE_NS = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Content:
    """What was the same at two looks: a state, or the reason why there is none. `age_s` is how long it is so."""

    hash: str
    age_s: float
    found: Mapping[str, Any] | Exception

    def state(self) -> Mapping[str, Any]:
        """Raises the reason why there is none."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class StateFile:
    """`look` gives a content again until it is marked as `taken`; None while there is nothing new or it changes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self.taken = self._hash = self._hash_now()
        self._stamps, self._since = self._stamps_now(), 0.0

    def look(self, now_s: float) -> Content | None:
        stamps = self._stamps_now()
        before = self._hash
        if stamps != self._stamps or _is_fresh(stamps):
            self._stamps, self._hash = stamps, self._hash_now()
        if self._hash != before:
            self._since = now_s
            return None
        if self._hash == self.taken:
            return None
        found = self._load()
        if self._hash_now() != self._hash:
            return None
        return Content(self._hash, now_s - self._since, found)

    def _load(self) -> Mapping[str, Any] | Exception:
        try:
            return load(self.path)
        except Exception as error:
            return error

    def _files(self) -> list[Path]:
        return sorted(filter(Path.is_file, self.path.iterdir())) if self.path.is_dir() else [self.path]

    def _stamps_now(self) -> list[tuple[str, int, int, int]]:
        """Name, time, size and inode of the file, or of each file in the folder.

        The time is that of the inode where it is later: an editor can set the other one back.
        """
        try:
            status = [(file, file.stat()) for file in self._files()]
        except OSError:
            return []
        return [(file.name, max(s.st_mtime_ns, s.st_ctime_ns), s.st_size, s.st_ino) for file, s in status]

    def _hash_now(self) -> str:
        """Of all that is in the file or folder; "" where it cannot be read."""
        parts = hashlib.sha256()
        try:
            for file in self._files():
                with file.open("rb") as opened:
                    parts.update(os.fsencode(file.name) + hashlib.file_digest(opened, "sha256").digest())
        except OSError:
            return ""
        return parts.hexdigest()


def _is_fresh(stamps: list[tuple[str, int, int, int]]) -> bool:
    return any(time.time_ns() - changed < COARSE_NS for _, changed, _, _ in stamps)
