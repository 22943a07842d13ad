"""`msgflow state edit`: a state in the user's editor, written back whole or not at all. No draft is lost."""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgflow._printable import printable
from msgflow.cli.places import FilePlace, StorePlace, opened, place_of, version_in
from msgflow.errors import MsgflowError, StateError, StateFileError, VersionError, VersionNotFound
from msgflow.state import disk, json_format, load, save, toml_format
from msgflow.state.text import MAX_TOML_BYTES
from msgflow.state.values import split
from msgflow.versions.difference import difference

if TYPE_CHECKING:
    from msgflow.versions import Store, TagMove

UNCHANGED = "nothing was changed"
FALLBACKS = ("vi", "nano", "notepad")


@dataclass(frozen=True, slots=True)
class Draft:
    """What the editor gets, under a file name that says its format.

    `publish` takes what it has left, as bytes and as a state, and says what was done. What `check` refuses, with a
    StateFileError, is the user's to mend in the editor.
    """

    name: str
    data: bytes
    publish: Callable[[bytes, dict[str, Any]], str]
    check: Callable[[dict[str, Any]], None] = lambda state: None


def edit(chosen: argparse.Namespace) -> None:
    place = place_of(chosen.place)
    if isinstance(place, FilePlace):
        if chosen.message or chosen.tag is not None:
            chosen.misused("--message and --tag are for a store; a file has no versions")
        is_text = place.path.suffix.lower() == ".toml" and not place.path.is_dir()
        print(edited(_draft_of_text(place.path) if is_text else _draft_of_file(place.path)))
        return
    with opened(place.address) as store:
        print(edited(_draft_of_version(store, place, chosen.message, chosen.tag)))


def _draft_of_text(path: Path) -> Draft:
    """The text of a .toml file itself, comments and all, even where it is broken and about to be mended."""
    if not path.exists():
        load(path)  # says so
    before = disk.read(path, MAX_TOML_BYTES)

    def publish(data: bytes, state: dict[str, Any]) -> str:
        if disk.read(path, MAX_TOML_BYTES) != before:
            raise StateError(f"{path} was changed by somebody else meanwhile and was left as it is")
        disk.replace(Path(os.path.realpath(path)), data)
        return printable(f"{path}: written")

    return Draft(path.name, before, publish)


def _draft_of_file(path: Path) -> Draft:
    """What can be written as text in a file or folder; its tensors stay."""
    before = load(path)
    values, tensors = split(before)
    _refuse_nothing_to_edit(values, tensors, str(path))

    def publish(data: bytes, state: dict[str, Any]) -> str:
        if _is_same(values, state):
            return UNCHANGED
        now = split(load(path))
        if not _is_same(now.values, values):
            raise StateError(f"{path} was changed by somebody else meanwhile and was left as it is")
        save(state | now.tensors, path)
        return printable(f"{path}: written")

    title = f"{path}. Comments in this draft are not kept."
    return Draft(*_as_text(values, title), publish, _without(tensors, str(path)))


def _draft_of_version(store: "Store", place: StorePlace, message: str, tag: str | None) -> Draft:
    moves = None if tag is None else moves_of(store, tag)
    id_ = version_in(store, place.ref)
    before, tensors = split(store.checkout(id_))
    _refuse_nothing_to_edit(before, tensors, f"the version {id_}")

    def publish(data: bytes, state: dict[str, Any]) -> str:
        if _is_same(before, state):
            return UNCHANGED
        if tag is not None and moves_of(store, tag) != moves:
            raise VersionError(f"the tag {tag!r} was moved by somebody else meanwhile; nothing was committed")
        return released(store, store.commit(state | tensors, message), tag)

    title = f"{place.ref} {id_}".strip() + ". Comments in this draft are not kept."
    return Draft(*_as_text(before, title), publish, _without(tensors, f"the version {id_}"))


def _refuse_nothing_to_edit(values: Mapping[str, Any], tensors: Mapping[str, Any], place: str) -> None:
    if tensors and not values:
        raise StateError(f"{place} holds nothing but tensors, which cannot be edited as text")


def _without(tensors: Mapping[str, Any], place: str) -> Callable[[dict[str, Any]], None]:
    """Refuses, with a StateFileError, a state that gives a tensor's key to another value."""

    def check(state: dict[str, Any]) -> None:
        for key in tensors.keys() & state.keys():
            raise StateFileError(f"{key!r} is a tensor in {place}; give the new value another key")

    return check


def released(store: "Store", id_: str, tag: str | None) -> str:
    """Let the tag, if any, point at a new version; the line that says so."""
    if tag is None:
        return id_
    return printable(f"{store.tag(tag, id_)}  {tag}")


def moves_of(store: "Store", tag: str) -> list["TagMove"]:
    """Where a tag has pointed, newest first; empty for a new one. Raises TagNameError."""
    with suppress(VersionNotFound):
        return store.tag_log(tag)
    return []


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return not difference("", one, "", other)


def _as_text(values: Mapping[str, Any], title: str) -> tuple[str, bytes]:
    """Name and content of a draft: TOML, or JSON where there is a value that TOML cannot hold, such as None."""
    try:
        return "state.toml", f"# {printable(title)}\n\n{toml_format.dumps(values)}".encode()
    except StateFileError:
        return "state.json", json_format.dumps(values).encode()


def edited(draft: Draft) -> str:
    """Let the user edit a draft and publish it; says what was done.

    Raises what publishing raises, and StateError for an editor that cannot be run or fails. What the user wrote is
    then kept in a file, and the message or a line on stderr says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="msgflow-"))  # readable for nobody else: prompts may be confidential
    path = folder / draft.name
    try:
        path.write_bytes(draft.data)
        said = _published(draft, path)
    except BaseException as error:
        if _content(path) in (None, draft.data):
            shutil.rmtree(folder)
            raise
        kept = f"your draft is kept in {path}"
        if isinstance(error, MsgflowError | OSError):
            raise StateError(f"{error}; {kept}") from error
        print(f"msgflow: {kept}", file=sys.stderr)
        raise
    shutil.rmtree(folder)
    return said


def _published(draft: Draft, path: Path) -> str:
    while True:
        _run_editor(path)
        data = _content(path)
        if data is None:
            raise StateError("the editor left no draft behind, so nothing was changed")
        if data == draft.data:
            return UNCHANGED
        try:
            state = load(path)
            draft.check(state)
        except StateFileError as problem:
            if not _is_to_be_mended(problem):
                raise
        else:
            return draft.publish(data, state)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _is_to_be_mended(problem: Exception) -> bool:
    """Ask; where nobody can answer, the draft is better kept."""
    if not sys.stdin.isatty():
        return False
    print(f"msgflow: {printable(str(problem))}", file=sys.stderr)
    try:
        return not input("Edit again? [Y/n] ").strip().lower().startswith("n")
    except EOFError:
        return False


def _run_editor(path: Path) -> None:
    command = _editor()
    try:
        with _ctrl_c_left_to_the_editor():
            status = subprocess.run([*command, str(path)], check=False).returncode
    except OSError as error:
        raise StateError(f"the editor {command[0]!r} cannot be run: {error.strerror}; set EDITOR") from error
    if status:
        raise StateError(f"the editor {command[0]!r} ended with status {status}, so nothing was changed")


def _editor() -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        try:
            command = shlex.split(os.environ.get(variable, ""))
        except ValueError as error:
            raise StateError(f"the environment variable {variable} is no command: {error}") from None
        if command:
            return command
    found = next(filter(shutil.which, FALLBACKS), None)
    if found is None or not sys.stdin.isatty():
        raise StateError("there is no editor to open; set the environment variable EDITOR, as in EDITOR='code --wait'")
    return [found]


@contextmanager
def _ctrl_c_left_to_the_editor() -> Iterator[None]:
    """The terminal sends it to both, and in an editor it means something else."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
