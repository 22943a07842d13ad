"""Files of states: the suffix says the format, and a write is seen whole or not at all."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgflow.errors import StateFileError, StateFileMissing
from msgflow.state import disk, folder, json_format, safetensors_format, toml_format
from msgflow.state.text import MAX_JSON_BYTES, MAX_TOML_BYTES, decoded, encoded
from msgflow.state.values import State, split

MAX_TENSOR_BYTES = 64 * 2**30


class Format(NamedTuple):
    """`dumps(state, old)` gives the bytes of a file whose bytes were `old`; `loads` reads one of at most `most` bytes.

    `edits` says whether `old` matters: where it does not, a damaged file can be written over.
    """

    dumps: Callable[[State, bytes], bytes]
    loads: Callable[[bytes], dict[str, Any]]
    most: int
    edits: bool = False


def _text_format(
    suffix: str,
    dumps: Callable[[Mapping[str, Any], str], str],
    loads: Callable[[str], dict[str, Any]],
    *,
    most: int,
    edits: bool,
) -> Format:
    def to_bytes(state: State, old: bytes) -> bytes:
        for key, tensor in state.tensors.items():
            raise StateFileError(
                f"{key!r} is a tensor ({tensor.dtype}, shape {tensor.shape}), which a {suffix} file cannot hold; "
                "save to a .safetensors file or to a folder (a path without a suffix)"
            )
        return encoded(dumps(state.values, decoded(old) if old else ""), most)

    return Format(to_bytes, lambda data: loads(decoded(data)), most, edits)


FORMATS = {
    ".json": _text_format(".json", json_format.dumps, json_format.loads, most=MAX_JSON_BYTES, edits=False),
    ".toml": _text_format(".toml", toml_format.dumps, toml_format.loads, most=MAX_TOML_BYTES, edits=True),
    ".safetensors": Format(
        lambda state, old: safetensors_format.dumps(state), safetensors_format.loads, MAX_TENSOR_BYTES
    ),
}


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state dict to a .toml, .json or .safetensors file or to a folder; `load` gives back exactly what it was.

    A path without a suffix, or that of a folder, is a folder of `state.toml` and `tensors.safetensors`. Tensors are
    `mt.Tensor`s, numpy arrays and whatever has `to_numpy()`; a .toml or .json file holds none.
    In .toml text that is there already, comments and the order of keys stay, and only what changed is rewritten.
    A file is replaced in one step (temporary file, fsync, rename), keeps its mode, and is reached through symbolic
    links; in a folder, both files change in one step, and neither may be a link.

    Raises StateFileError for an unknown suffix, a missing folder, an existing file that cannot be read, and for a
    value that the format cannot hold exactly, with its key; NotJson (a TypeError) for a value of a wrong type, with
    its key. Whatever is raised, the old state is untouched.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"save() takes a state dict, not a {type(state).__name__}; give it module.state_dict()")
    path = Path(path)
    form = _format(path)
    parts = split(state)
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise StateFileError(f"there is no folder {str(target.parent)!r} to write {path.name} in; create it first")
    try:
        if form is None:
            folder.save(parts, target)
        else:
            _save_file(parts, target, form)
    except StateFileError as error:
        raise StateFileError(f"{path} was not written: {error}") from None


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state dict from a file or a folder of those that `save` writes: flat, with dotted keys.

    Tensors are numpy arrays, and `mt.Tensor`s where they are of bfloat16, which numpy does not have. A .safetensors
    file may be that of any tool; its metadata is not part of the state.

    Raises StateFileError with the path, and with line and column or the key where they are known, for a file that is
    not a state; StateFileMissing where there is none.
    """
    path = Path(path)
    form = _format(path)
    if not path.exists():
        raise StateFileMissing(f"there is no state at {str(path.absolute())!r}; mf.save writes one")
    try:
        with disk.memory_for(path.name):
            if form is None:
                return folder.load(Path(os.path.realpath(path)), MAX_TENSOR_BYTES)
            return form.loads(disk.read(path, form.most))
    except StateFileMissing:
        raise
    except StateFileError as error:
        raise StateFileError(f"{path}: {error}") from None


def _save_file(state: State, target: Path, form: Format) -> None:
    if target.exists():
        disk.refuse_irregular(target, follow_links=True)
    old = disk.read(target, form.most) if form.edits and target.exists() else b""
    disk.replace(target, form.dumps(state, old))


def _format(path: Path) -> Format | None:
    """How a path's file is written; None for a folder."""
    form = FORMATS.get(path.suffix.lower())
    if form is None and path.suffix and not path.is_dir():
        raise _unknown(path, f"the suffix {path.suffix!r}")
    if form is None and path.name.lower() in FORMATS:
        raise _unknown(path, "no name before its suffix")
    if form is None and path.exists() and not path.is_dir():
        raise _unknown(path, "no suffix, and is no folder")
    return form


def _unknown(path: Path, problem: str) -> StateFileError:
    return StateFileError(f"{str(path)!r} has {problem}; a state is a folder or one of {', '.join(FORMATS)}")
