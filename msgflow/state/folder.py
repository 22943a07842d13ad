"""A state as a folder: `state.toml`, which people edit, and `tensors.safetensors`, which changes with it in one step.

    1. the new tensors are written beside the old ones, as tensors-<digest>.safetensors;
    2. state.toml is replaced; it names the digest of its tensors, and from here on the state is the new one;
    3. the tensors get their usual name, and what is left of earlier writers goes.

A reader takes the tensors whose digest state.toml names, under either name, and so gets one state or the other, also
where the writer was killed in between. Where it finds none, a writer has come between its looks, and it looks again.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from msgflow.errors import StateFileError, StateFileMissing
from msgflow.state import disk, safetensors_format, toml_format
from msgflow.state.text import MAX_TOML_BYTES, decoded, encoded
from msgflow.state.values import State

TEXT = "state.toml"
TENSORS = "tensors.safetensors"
NEW_TENSORS = re.compile(r"tensors-([0-9a-f]{16})\.safetensors")
# In state.toml, a table of its own at the end of the file.
DIGEST_KEY = "msgflow.tensors_sha256"
LOOKS_AGAIN_AFTER_S = (0.0, 0.01, 0.02, 0.05, 0.1)


def save(state: State, folder: Path) -> None:
    """Make the folder hold exactly this state; it is made where there is none. Files of other names are left alone.

    Writers take turns. Raises StateFileError, with the key at fault where there is one; the old state then stays.
    """
    if DIGEST_KEY in {**state.values, **state.tensors}:
        raise StateFileError(f"a folder keeps the digest of its tensors under {DIGEST_KEY!r}; rename that key")
    new = not folder.exists()
    folder.mkdir(exist_ok=True)
    try:
        with disk.turn(folder) as alone:
            _write(state, folder, alone=alone)
    except BaseException:
        if new:
            with suppress(OSError):  # somebody has put something in it
                folder.rmdir()
        raise


def load(folder: Path, most: int) -> dict[str, Any]:
    """The state in a folder, old or new where somebody is saving; `most` is the size in bytes of the largest tensors.

    A state.toml that names no digest, as people write it, takes the tensors.safetensors that is there, if any.
    """
    for pause in LOOKS_AGAIN_AFTER_S:
        time.sleep(pause)
        state = _look(folder, most)
        if state is not None:
            return state
    raise StateFileError(
        f"{TENSORS} is not the file that {TEXT} was saved with; put that one back, or take the line of "
        f"{DIGEST_KEY} out of {TEXT} to use this one"
    )


def _write(state: State, folder: Path, *, alone: bool) -> None:
    files = _files(folder)
    old = disk.read(folder / TEXT, MAX_TOML_BYTES, follow_links=False) if TEXT in files else b""
    _tidy(folder, old, alone=alone)
    if state.tensors or TENSORS in files:
        # Where there are old tensors, the new state has a file of none: else the old one would be taken for its own.
        new = _write_both(state, folder, old)
    else:
        new = _text(state.values, old)
        disk.replace(folder / TEXT, new)
    _tidy(folder, new, alone=alone)


def _write_both(state: State, folder: Path, old: bytes) -> bytes:
    data = safetensors_format.dumps(State({}, state.tensors))
    digest = hashlib.sha256(data).hexdigest()
    text = _text(state.values | {DIGEST_KEY: digest}, old)
    tensors, new_tensors = folder / TENSORS, folder / _new_name(digest)
    if _holds(tensors, data):
        disk.replace(folder / TEXT, text)
    else:
        disk.replace(new_tensors, data)
        disk.replace(folder / TEXT, text)
        new_tensors.replace(tensors)
    return text


def _holds(path: Path, data: bytes) -> bool:
    return path.exists() and path.stat().st_size == len(data) and disk.read(path, len(data)) == data


def _text(values: Mapping[str, Any], old: bytes) -> bytes:
    return encoded(toml_format.dumps(values, decoded(old) if old else ""), MAX_TOML_BYTES)


def _tidy(folder: Path, text: bytes, *, alone: bool) -> None:
    """Remove the tensors of killed writers, but for those that the text names.

    Without locks, they may be a living writer's for an hour.
    """
    for name in _files(folder):
        match = NEW_TENSORS.fullmatch(name)
        if match and match[1].encode() not in text:
            path = folder / name
            with suppress(FileNotFoundError):  # renamed since, by a writer that there is no lock against
                if alone or disk.age_s(path) > disk.GRACE_WITHOUT_LOCKS_S:
                    path.unlink()


def _files(folder: Path) -> list[str]:
    """The names of ours that are there. Raises StateFileError for one that is a link, or no file."""
    names = [
        entry.name for entry in folder.iterdir() if entry.name in (TEXT, TENSORS) or NEW_TENSORS.fullmatch(entry.name)
    ]
    for name in names:
        with suppress(FileNotFoundError):  # renamed since
            disk.refuse_irregular(folder / name, follow_links=False)
    return names


def _look(folder: Path, most: int) -> dict[str, Any] | None:
    """The state, or None where a writer has come between: the tensors are those of another state.toml."""
    path = folder / TEXT
    with ExitStack() as stack:
        try:
            text = disk.read(path, MAX_TOML_BYTES, follow_links=False)
        except FileNotFoundError:
            raise StateFileMissing(f"there is no {TEXT} in the folder {str(folder.absolute())!r}") from None
        # Opened at once, because they are known by content: parsing takes long enough for a writer to come between.
        try:
            tensors = {
                name: stack.enter_context(disk.opened_to_read(folder / name, follow_links=False))
                for name in _files(folder)
                if name != TEXT
            }
        except FileNotFoundError:
            return None
        with _naming(TEXT):
            state = toml_format.loads(decoded(text))
        digest = state.pop(DIGEST_KEY, None)
        if digest is not None:
            data = _named(digest, tensors, most)
        elif TENSORS in tensors:
            data = disk.read_all(tensors[TENSORS], most)
            if text != disk.read(path, MAX_TOML_BYTES, follow_links=False):
                return None
        else:
            return state
    return None if data is None else _joined(state, data)


def _named(digest: Any, tensors: Mapping[str, BinaryIO], most: int) -> bytes | None:
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise StateFileError(f"{DIGEST_KEY} is no sha256 in hexadecimal: {str(digest)[:80]!r}")
    for name in (_new_name(digest), TENSORS):
        if name in tensors:
            data = disk.read_all(tensors[name], most)
            if hashlib.sha256(data).hexdigest() == digest:
                return data
    return None


def _new_name(digest: str) -> str:
    return f"tensors-{digest[:16]}.safetensors"


def _joined(values: dict[str, Any], data: bytes) -> dict[str, Any]:
    with _naming(TENSORS):
        tensors = safetensors_format.loads(data)
    for key in tensors:
        if key in values:
            raise StateFileError(f"{key!r} is there twice, in {TEXT} and in {TENSORS}; keep one")
    return values | tensors


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let errors say in which of the files they are."""
    try:
        yield
    except StateFileError as error:
        raise StateFileError(f"{name}: {error}") from None
