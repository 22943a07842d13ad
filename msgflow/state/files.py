"""Files of states: the suffix says the format, and a write is seen whole or not at all."""

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgflow.errors import StateFileError, StateFileMissing
from msgflow.state import json_format, toml_format
from msgflow.state.values import plain

MAX_BYTES = 64 * 2**20


class Format(NamedTuple):
    """`dumps(state, old)` gives the text of a file whose text was `old`; `loads` reads one.

    `edits` says whether `old` matters: where it does not, a damaged file can be written over.
    """

    dumps: Callable[[Mapping[str, Any], str], str]
    loads: Callable[[str], dict[str, Any]]
    edits: bool


FORMATS = {
    ".json": Format(json_format.dumps, json_format.loads, edits=False),
    ".toml": Format(toml_format.dumps, toml_format.loads, edits=True),
}


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state dict to a `.toml` or `.json` file; `load` gives back exactly what was saved.

    Over an existing .toml file, comments and the order of keys stay and only what changed is rewritten.
    The file is replaced in one step (temporary file, fsync, rename), keeps its mode, and is reached through symbolic
    links.

    Raises StateFileError for an unknown suffix, a missing folder, an existing file that cannot be read, and for a
    value that the format cannot hold exactly, with its key; NotJson (a TypeError) for a value of a wrong type, with
    its key. Whatever is raised, the old file is untouched.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"save() takes a state dict, not a {type(state).__name__}; give it module.state_dict()")
    path = Path(path)
    form = _format(path)
    values = plain(state)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise StateFileError(f"there is no folder {str(target.parent)!r} to write {path.name} in; create it first")
    if target.exists() and not target.is_file():
        raise StateFileError(f"{path} is not a regular file; it was left as it is")
    old = _read(target) if form.edits and target.exists() else ""
    try:
        data = form.dumps(values, old).encode()
        if len(data) > MAX_BYTES:
            raise StateFileError(f"the state takes {len(data)} bytes; a state file may have {MAX_BYTES}")
    except StateFileError as error:
        raise StateFileError(f"{path} was not written: {error}") from None
    _replace(target, data)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state dict from a `.toml` or `.json` file: flat, with dotted keys.

    Raises StateFileError with the path, and with line and column or the key where they are known, for a file that is
    not a state; StateFileMissing where there is none.
    """
    path = Path(path)
    form = _format(path)
    if not path.exists():
        raise StateFileMissing(f"there is no state file {str(path.absolute())!r}; mf.save writes one")
    text = _read(path)
    if not text:
        raise StateFileError(f"{path}: the file is empty; even a state without keys is not: this one was cut off")
    try:
        return form.loads(text)
    except StateFileError as error:
        raise StateFileError(f"{path}: {error}") from None


def _format(path: Path) -> Format:
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        kind = f"the suffix {path.suffix!r}" if path.suffix else "no suffix"
        raise StateFileError(f"{str(path)!r} has {kind}; a state file is one of {', '.join(FORMATS)}")
    return form


def _read(path: Path) -> str:
    """The text of an existing file, line ends and all, without a byte order mark."""
    if not path.is_file():
        raise StateFileError(f"{path} is not a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise StateFileError(f"{path} is larger than {MAX_BYTES} bytes, the most that a state file may have")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise StateFileError(f"{path} is not UTF-8 at line {line}, byte {column}: {error.reason}") from None


def _replace(target: Path, data: bytes) -> None:
    """Put the data in the target's place in one step, with the target's mode. Nothing is left behind on failure."""
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as file:
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where a folder can be opened, the rename itself is not yet on the disk
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
