"""Bytes on the disk: a read never waits and never fills the memory, a write is seen whole or not at all.

What killed writers leave behind is removed by the next write in the same folder. A writer holds the lock of its
temporary file, and the system lets go of it when the writer dies, however it dies.
"""

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from msgflow.errors import StateFileError

TEMPORARY = re.compile(r"\.msgflow-[0-9a-f]{16}\.tmp")
# For the moments in which a living writer does not hold the lock of its file: right behind its creation, and right
# before its renaming.
GRACE_S = 10
# How long what may be a living writer's is left alone where files have no locks.
GRACE_WITHOUT_LOCKS_S = 3600
TURN_TIMEOUT_S = 30


def read(path: Path, most: int, *, follow_links: bool = True) -> bytes:
    """The bytes of a regular file, at most `most` of them. Raises StateFileError where it is none, or larger."""
    with opened_to_read(path, follow_links=follow_links) as file:
        return read_all(file, most)


@contextmanager
def opened_to_read(path: Path, *, follow_links: bool = True) -> Iterator[BinaryIO]:
    """A regular file, open. Raises StateFileError for all else: opening a FIFO would wait, a device would act."""
    refuse_irregular(path, follow_links=follow_links)
    # By now the path may be that of another file.
    flags = getattr(os, "O_NONBLOCK", 0) | (0 if follow_links else getattr(os, "O_NOFOLLOW", 0))
    with open(path, "rb", opener=lambda path, mode: os.open(path, mode | flags)) as file:
        _refuse_mode(path, os.fstat(file.fileno()).st_mode)
        yield file


def refuse_irregular(path: Path, *, follow_links: bool) -> None:
    """Raise StateFileError where there is something that is not a regular file."""
    _refuse_mode(path, path.stat(follow_symlinks=follow_links).st_mode)


def _refuse_mode(path: Path, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise StateFileError(f"{path.name} is a symbolic link, which may lead anywhere; put the file itself there")
    if not stat.S_ISREG(mode):
        raise StateFileError(f"{path.name} is not a regular file")


def read_all(file: BinaryIO, most: int) -> bytes:
    """The bytes of an open file. Raises StateFileError where it is larger than `most` bytes, or than the memory."""
    name, size = Path(file.name).name, os.fstat(file.fileno()).st_size
    if size > most:
        raise StateFileError(f"{name} is larger than {most} bytes, the most that such a file may have")
    with memory_for(name):
        data = file.read(size + 1)
    if len(data) != size:
        raise StateFileError(f"{name} was changed in place while it was read; load it again")
    return data


@contextmanager
def memory_for(name: str) -> Iterator[None]:
    """Raise StateFileError where the memory does not suffice for a file."""
    try:
        yield
    except MemoryError:
        raise StateFileError(f"{name} is larger than the memory that is left") from None


def replace(target: Path, data: bytes) -> None:
    """Put the data in the target's place in one step, with the target's mode. Nothing is left behind on failure."""
    remove_abandoned(target.parent)
    temporary = target.parent / f".msgflow-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            take_lock(file.fileno())
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.utime(temporary)  # writing may have taken long, and closing gives up the lock
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where a folder can be opened, the rename itself is not yet on the disk
        with _opened(target.parent) as folder:
            os.fsync(folder)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of writers that were killed; those of living ones stay."""
    temporaries = []
    with suppress(OSError), os.scandir(folder) as entries:  # one may write to a folder that one may not list
        temporaries = [Path(entry.path) for entry in entries if TEMPORARY.fullmatch(entry.name)]
    for temporary in temporaries:
        # Another writer may do the same at the same time, and the file may be somebody else's.
        with suppress(OSError, StateFileError):
            if is_abandoned(temporary):
                temporary.unlink()


def is_abandoned(temporary: Path) -> bool:
    """Whether no living writer can be at work on a file."""
    with opened_to_read(temporary, follow_links=False) as file:
        if age_s(temporary) < GRACE_S:
            return False
        free = take_lock(file.fileno())
        return age_s(temporary) > GRACE_WITHOUT_LOCKS_S if free is None else free


def age_s(path: Path) -> float:
    """Seconds since a file was written to."""
    return time.time() - path.stat().st_mtime


def take_lock(file: int) -> bool | None:
    """Take the lock of an open file or folder, until it is closed or the process dies.

    Gives False where another open one has it, and None where there are no locks: on Windows and some network disks.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


@contextmanager
def turn(folder: Path) -> Iterator[bool]:
    """The time in which no other writer, in this process or another, changes the folder; False without locks.

    Raises StateFileError where others have not come to an end after half a minute.
    """
    if not hasattr(os, "O_DIRECTORY"):
        yield False
        return
    with _opened(folder) as opened:
        patience = time.monotonic() + TURN_TIMEOUT_S
        while (alone := take_lock(opened)) is False:
            if time.monotonic() > patience:
                raise StateFileError(f"another process has been writing to {folder} for {TURN_TIMEOUT_S} s")
            time.sleep(0.005)
        try:
            yield alone is True
        finally:
            if alone:  # closing is not enough: a process that was forked meanwhile has the folder open as well
                _give_back_lock(opened)


def _give_back_lock(file: int) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield opened
    finally:
        os.close(opened)
