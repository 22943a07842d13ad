"""Documents: text with a name, read from a folder."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from msgflow._frozen import freeze
from msgflow.errors import DataError
from msgflow.messages import NOTHING


@dataclass(frozen=True, slots=True)
class Document:
    """Text with a name that is unique among the documents it is searched with.

    `metadata` is a JSON value and is frozen on the way in: a document is equal, and hashable, by content.
    Raises TypeError where id or text is no text, or a value of the metadata is no JSON value.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = NOTHING

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("text", self.text)):
            if not isinstance(value, str):
                raise TypeError(f"a Document's {name} is text; got {value!r} of type {type(value).__name__}")
        object.__setattr__(self, "metadata", freeze(dict(self.metadata), "metadata"))


def read_folder(
    path: str | Path, *, patterns: Sequence[str] = ("*.md", "*.markdown", "*.txt", "*.rst")
) -> list[Document]:
    """The text files under a folder, in the order of their ids; or the one file that `path` names.

    An id is the path inside the folder, written with `/`; metadata["source"] is the path as `path` began it. A
    pattern is matched from the right and without regard to case, so `"*.md"` finds `docs/README.MD`. Line ends
    become `\\n`, and a byte order mark is dropped.

    Names that begin with a dot (`.git`) are no documents. A link to a file inside the folder is read; a link to a
    folder inside it is not entered, for its files are read in their own place.

    Raises DataError, naming the file, where one that matches cannot be read, is no UTF-8 text or is reached by a
    link that leaves the folder; and where there is no text at all.
    """
    root = Path(path)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    try:
        files = {root.name: root} if root.is_file() else _files(root, patterns)
        documents = [Document(id, _read(files[id]), {"source": files[id].as_posix()}) for id in sorted(files)]
    except OSError as error:
        raise DataError(
            f"{error.filename or path} cannot be read ({error.strerror or error}); give a folder or a file that exists "
            f"and may be read. Relative paths begin at {Path.cwd()}"
        ) from error
    if not documents:
        raise DataError(
            f"no file in {root} matches {', '.join(patterns) or 'an empty list of patterns'}; put documents there, "
            "or say with patterns=[...] which files are documents"
        )
    if not any(document.text.strip() for document in documents):
        raise DataError(f"all {len(documents)} file(s) in {root} are empty; there is nothing to search or to split")
    return documents


def _files(root: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """Path by id of each file that matches."""
    files = {}
    for path in _walk(root):
        id = path.relative_to(root).as_posix()
        if any(PurePosixPath(id.lower()).match(pattern.lower()) for pattern in patterns):
            _refuse_outside(path, root)
            files[id] = path
    return files


def _walk(root: Path) -> Iterator[Path]:
    """All that is no folder under root. A stack, for folders may be nested deeper than Python's calls."""
    folders = [root]
    while folders:
        for path in folders.pop().iterdir():
            if path.name.startswith("."):
                continue
            if not path.is_dir():
                yield path
            elif path.is_symlink():
                _refuse_outside(path, root)
            else:
                folders.append(path)


def _refuse_outside(path: Path, root: Path) -> None:
    """A link may lead anywhere on the machine, and what it leads to would be shown to a model."""
    # realpath, for Path.resolve raises RuntimeError on a link to itself before Python 3.13.
    if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise DataError(f"{path} is a link that leaves {root}; copy what it leads to, or remove the link")


def _read(path: Path) -> str:
    # Opening a pipe or a device would wait for ever.
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is no regular file; remove it, or leave it out with patterns=[...]")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is no UTF-8 text (byte {error.start}); convert it to UTF-8, or leave it out with patterns=[...]"
        ) from error
    if "\0" in text:
        raise DataError(f"{path} holds NUL characters, so it is no text; leave it out with patterns=[...]")
    return text
