"""Store: versions of a state in a database, with history."""

import getpass
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from msgflow.errors import NothingToRollBack, VersionDamaged, VersionError
from msgflow.nn.module import Module
from msgflow.versions.database import Database
from msgflow.versions.difference import Diff, contents_of, difference
from msgflow.versions.documents import Contents, id_of, parsed, without_tensors_of
from msgflow.versions.following import Follower
from msgflow.versions.records import TagMove, Version
from msgflow.versions.refs import check_tag, current_tags, resolve, tag_stack
from msgflow.versions.tables import commits, moves, states
from msgflow.versions.tensor_table import keep, with_tensors
from msgflow.versions.watching import Watcher


class Store:
    """Versions in a SQLite file, or in a PostgreSQL database (`postgresql://user:password@host/database`).

    Any number of threads and processes may use one database at once. A version is named by its id, by the first four
    or more digits of it, or by a tag; an id is what `module.digest()` is for the same state. `author` is the user of
    the operating system where none is given. Tables are made on first use.

    Raises VersionStoreError where the database cannot be used, VersionNotFound and AmbiguousVersion for names.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self._database = Database(place)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._database.name!r})"

    def close(self) -> None:
        """Close the connections; the next use opens new ones. It happens by itself when the store is dropped."""
        self._database.close()

    # --- versions --------------------------------------------------------------------------------------------------

    def commit(self, state: Mapping[str, Any], message: str = "", author: str = "") -> str:
        """Keep a state; returns its id. The state that was committed last is not committed again.

        Equal tensors, of whatever version, are stored once.
        Raises NotJson (a TypeError) with the key for a value that is neither JSON nor a tensor.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"commit() takes a state dict, not {type(state).__name__}; give it module.state_dict()")
        new = Contents(state)
        entry = {"version": new.id, "message": _storable(message, "message"), "author": _author(author)}

        def work(connection: Connection) -> str:
            stored = _stored(connection, new.id)
            if stored is None:
                keep(connection, new.tensors)
                connection.execute(insert(states).values(id=new.id, state=new.document))
            elif contents_of(stored) != contents_of(new.state):
                raise VersionDamaged(new.id, "is taken by another state, so this one was not committed")
            if connection.scalar(select(commits.c.version).order_by(commits.c.seq.desc()).limit(1)) != new.id:
                connection.execute(insert(commits).values(**entry, time=datetime.now(UTC)))
            return new.id

        return self._database.write(work)

    def log(self, limit: int | None = None) -> list[Version]:
        """Every commit, newest first; at most `limit` of them."""
        if limit is not None and limit < 0:
            raise ValueError(f"limit counts versions, so it is not negative; got {limit}")

        def work(connection: Connection) -> list[Version]:
            tags = current_tags(connection)
            rows = connection.execute(select(commits).order_by(commits.c.seq.desc()).limit(limit))
            return [
                Version(
                    row.version, row.message, row.author, row.time, tuple(t for t in tags if tags[t] == row.version)
                )
                for row in rows
            ]

        return self._database.read(work)

    def resolve(self, ref: str) -> str:
        """The id that a ref stands for now."""
        return self._database.read(lambda connection: resolve(connection, ref))

    def checkout(self, ref: str) -> dict[str, Any]:
        """The state of a version, with tensors as `mf.load` gives them.

        Raises VersionDamaged where it is not what was committed under its id.
        """

        def work(connection: Connection) -> dict[str, Any]:
            id_ = resolve(connection, ref)
            return with_tensors(connection, id_, _state(connection, id_))

        return self._database.read(work)

    def diff(self, a: str, b: str) -> Diff:
        """What changed from version `a` to version `b`; `print` shows it line by line."""

        def work(connection: Connection) -> Diff:
            ids = resolve(connection, a), resolve(connection, b)
            before, after = (_state(connection, id_) for id_ in ids)
            apart = [without_tensors_of(before, after), without_tensors_of(after, before)]
            one, other = (with_tensors(connection, id_, state) for id_, state in zip(ids, apart, strict=True))
            return difference(ids[0], one, ids[1], other)

        return self._database.read(work)

    # --- tags ------------------------------------------------------------------------------------------------------

    def tag(self, name: str, ref: str, author: str = "") -> str:
        """Let a tag point at a version, whose id is returned; a tag that does so already is left alone.

        Raises TagNameError (a ValueError) for a name that looks like an id or cannot be written on a line.
        """
        check_tag(name)
        author = _author(author)

        def work(connection: Connection) -> str:
            id_ = resolve(connection, ref)
            if [version for _, version in tag_stack(connection, name, limit=1)] != [id_]:
                move = {"tag": name, "version": id_, "author": author, "time": datetime.now(UTC)}
                connection.execute(insert(moves).values(**move))
            return id_

        return self._database.write(work)

    def tags(self) -> dict[str, str]:
        """The id that each tag points at, by name."""
        return self._database.read(current_tags)

    def rollback(self, name: str, author: str = "") -> str:
        """Let a tag point again at what it pointed at before, whose id is returned; once more goes further back.

        Raises NothingToRollBack (a LookupError) where there was nothing before.
        """
        check_tag(name)
        author = _author(author)

        def work(connection: Connection) -> str:
            stack = tag_stack(connection, name, limit=2)
            if len(stack) < 2:
                raise NothingToRollBack(name, resolve(connection, name))
            (newest, _), (_, before) = stack
            undone = update(moves).where(moves.c.seq == newest)
            connection.execute(undone.values(undone_at=datetime.now(UTC), undone_by=author))
            return before

        return self._database.write(work)

    def tag_log(self, name: str) -> list[TagMove]:
        """Every move of a tag, newest first, with those that were rolled back."""
        check_tag(name)

        def work(connection: Connection) -> list[TagMove]:
            rows = connection.execute(select(moves).where(moves.c.tag == name).order_by(moves.c.seq.desc())).all()
            if not rows:
                resolve(connection, name)
            return [TagMove(row.tag, row.version, row.author, row.time, row.undone_at, row.undone_by) for row in rows]

        return self._database.read(work)

    # --- running modules -------------------------------------------------------------------------------------------

    def follow(self, module: Module, tag: str, *, poll_s: float = 0.25) -> Follower:
        """Load what a tag points at into a module, now and whenever it moves, by whatever process.

        The database is asked every `poll_s` seconds, in the background, as long as the module lives. A version that
        does not fit is refused and the module keeps running on the last good one; the first one must fit, else
        StateDictError is raised, or VersionNotFound where there is no such tag.
        """
        check_tag(tag)
        return Follower(module, tag, self.resolve, self.checkout, poll_s=poll_s)

    def watch(self, module: Module, path: str | os.PathLike[str], *, poll_s: float = 0.25) -> Watcher:
        """As `versions.watch`, and every edit that is loaded into the module is committed, too."""
        return Watcher(module, path, self.commit, poll_s=poll_s)


def _stored(connection: Connection, id_: str) -> dict[str, Any] | None:
    """The state that is stored under an id, its tensors as refs; None where there is none."""
    document = connection.scalar(select(states.c.state).where(states.c.id == id_))
    return None if document is None else parsed(id_, document)


def _state(connection: Connection, id_: str) -> dict[str, Any]:
    state = _stored(connection, id_)
    if state is None or id_of(state) != id_:
        raise VersionDamaged(id_, "is stored with another content; the database was edited by hand")
    return state


def _author(author: str) -> str:
    return _storable(author, "author") or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no variable and no entry in the list of users, as in some containers
        return ""


def _storable(text: str, what: str) -> str:
    """Raises VersionError for the few characters that a text column cannot hold."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is text, not {type(text).__name__}")
    for letter in text:
        if letter == "\0" or "\ud800" <= letter <= "\udfff":
            raise VersionError(f"the {what} holds the character {letter!r}, which no database keeps; leave it out")
    return str(text)
