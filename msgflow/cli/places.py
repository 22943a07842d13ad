"""Where states are: in files and folders, and in stores, under versions.

prompts.toml                          a state file or folder
prompts.db#production                 a version in a store: by tag, by id, or by the beginning of an id
postgresql://user@host/db#3f2a        the same; `#` is where a URL ends, so a version is never taken for a part of it
prompts.db                            the version that was committed last
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgflow import versions
from msgflow.errors import StateError, VersionError, VersionStoreError
from msgflow.state import load
from msgflow.state.files import FORMATS

if TYPE_CHECKING:
    from msgflow.versions import Store


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A state file, or a folder of them."""

    path: Path


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A version in a store, by its ref; "" is the one that was committed last."""

    address: str
    ref: str


def place_of(text: str) -> FilePlace | StorePlace:
    """What a place on the command line stands for. Nothing is opened."""
    address, ref = _cut(text)
    path = Path(address)
    if "://" not in address and (path.suffix.lower() in FORMATS or path.is_dir()):
        if ref:
            raise StateError(f"{address!r} is a state file, which has no versions such as {ref!r}; a store has")
        return FilePlace(path)
    return StorePlace(address, ref)


def _cut(text: str) -> tuple[str, str]:
    """Address and ref. Names of files may hold a `#` as well: the longest one that exists is the address."""
    if "://" not in text:
        for end in [len(text), *(at for at in range(len(text) - 1, 0, -1) if text[at] == "#")]:
            if os.path.exists(text[:end]):
                return text[:end], text[end + 1 :]
    address, _, ref = text.partition("#")
    return address, ref


@contextmanager
def opened(address: str, *, new: bool = False) -> Iterator["Store"]:
    """A store, closed at the end; `new` says whether a file of that name is made where there is none."""
    place = place_of(address)
    if isinstance(place, FilePlace):
        raise StateError(f"{address!r} is a state file, and this takes a store, such as 'prompts.db'")
    if place.ref:
        raise StateError(f"this takes a whole store, so write it without {'#' + place.ref!r}")
    if not new and not _may_be_there(address):
        raise VersionStoreError(
            f"there is nothing at {address!r}, no store and no state folder; `msgflow state commit` makes a store"
        )
    store = versions.Store(address)
    try:
        yield store
    finally:
        store.close()


def _may_be_there(address: str) -> bool:
    """False for a file that SQLite would make; whether a server is there shows when it is asked."""
    if address.startswith("sqlite"):
        address = address.partition(":///")[2].partition("?")[0] or address
    return "://" in address or os.path.exists(address)


def version_in(store: "Store", ref: str) -> str:
    """The id that a ref stands for. Raises VersionNotFound, and VersionError where there is no version at all."""
    if ref:
        return store.resolve(ref)
    newest = store.log(1)
    if not newest:
        raise VersionError(f"{store!r} holds no version yet; `msgflow state commit` makes the first one")
    return newest[0].id


def read(text: str) -> tuple[str, dict[str, Any]]:
    """The state at a place, and what to call it: the path of a file, the id of a version."""
    place = place_of(text)
    if isinstance(place, FilePlace):
        return str(place.path), load(place.path)
    with opened(place.address) as store:
        id_ = version_in(store, place.ref)
        return id_, store.checkout(id_)
