"""The database of a store, SQLite or PostgreSQL, and its transactions.

Writers come one after the other, so that what a transaction has read still holds when it writes: SQLite's lock is
taken at the beginning (BEGIN IMMEDIATE), PostgreSQL's on the one row of msgflow_store. Readers wait for nobody.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from weakref import finalize

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from msgflow.errors import VersionStoreError
from msgflow.versions.off_the_loop import off_the_loop
from msgflow.versions.tables import SCHEMA, metadata, store

T = TypeVar("T")

BUSY_S = 10  # how long one attempt waits for the locks of others
GIVE_UP_S = 30  # no attempt begins later
CONNECT_S = 10
SETUP_LOCK = 0x6D7367666C6F77  # "msgflow" as a number, the key of an advisory lock of PostgreSQL
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Database:
    """Makes its tables on first use. Every failure is a VersionStoreError."""

    def __init__(self, place: str | os.PathLike[str]) -> None:
        url = _url(place)
        self.name = url.set(query={}).render_as_string(hide_password=True)  # a query may hold a password as well
        self._file: Path | None = None
        if url.get_backend_name() == "sqlite":
            self._file, self.name = _sqlite_file(url)
            url = url.set(database=str(self._file))
        self._engine = _engine(url, self.name)
        self._is_ready = False
        self._adopt()

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, from one transaction."""
        return off_the_loop(lambda: self._run(work, writes=False))

    def write(self, work: Callable[[Connection], T]) -> T:
        """The same, alone among all writers; `work` may be called again where its transaction came to nothing."""
        return off_the_loop(lambda: self._run(work, writes=True))

    def close(self) -> None:
        """Close the connections; the next transaction opens new ones."""
        _close(self._engine, self._process)

    def _adopt(self) -> None:
        """From here on the connections are this process's, which closes them at the latest when it ends."""
        self._process = os.getpid()
        finalize(self, _close, self._engine, self._process)

    def _run(self, work: Callable[[Connection], T], *, writes: bool) -> T:
        if self._process != os.getpid():  # forked since: the connections belong to the parent
            self._engine.dispose(close=False)
            self._adopt()
        try:
            if not self._is_ready:
                self._prepare()
            return self._retried(lambda: self._transaction(work, writes))
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise VersionStoreError(self._explain(error)) from error

    def _retried(self, attempt: Callable[[], T]) -> T:
        """SQLite does not always wait where it could: another process may be switching or folding up the journal."""
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

        backoff = wait_random_exponential(multiplier=0.01, max=0.5)
        retrying = Retrying(
            retry=retry_if_exception(_is_busy), stop=stop_after_delay(GIVE_UP_S), wait=backoff, reraise=True
        )
        return retrying(attempt)

    def _transaction(self, work: Callable[[Connection], T], writes: bool) -> T:
        if self._file is not None and self._is_ready and not self._file.exists():
            raise VersionStoreError(f"the version store {self.name} is gone; put it back, or open a new Store there")
        with self._begin("BEGIN IMMEDIATE" if writes else "BEGIN") as connection:
            if writes:
                self._lock(connection)
            return work(connection)

    def _lock(self, connection: Connection) -> None:
        if self._file is None:
            connection.execute(text(f"SET LOCAL lock_timeout = '{1000 * GIVE_UP_S:.0f}ms'"))
        self._check(connection.scalar(select(store.c.schema).with_for_update()))

    @contextmanager
    def _begin(self, statement: str) -> Iterator[Connection]:
        """A transaction; PostgreSQL begins it in its own way."""
        with self._engine.connect().execution_options(begin=statement) as connection, connection.begin():
            yield connection

    def _prepare(self) -> None:
        """Make the tables, or see that those that are there are ours."""
        if self._file is not None:
            self._retried(self._use_wal)
        self._retried(self._make_tables)
        self._is_ready = True

    def _use_wal(self) -> None:
        """With a write-ahead log readers do not wait for the writer; the file remembers it."""
        with self._begin("") as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")

    def _make_tables(self) -> None:
        with self._begin("BEGIN") as connection:
            if inspect(connection).has_table(store.name):
                return self._check(connection.scalar(select(store.c.schema)))
        with self._begin("BEGIN IMMEDIATE") as connection:
            if self._file is None:
                connection.execute(select(func.pg_advisory_xact_lock(SETUP_LOCK)))
            metadata.create_all(connection)
            if connection.scalar(select(store.c.schema)) is None:
                connection.execute(insert(store).values(schema=SCHEMA))
        return None

    def _check(self, schema: int | None) -> None:
        if schema != SCHEMA:
            raise VersionStoreError(
                f"the version store {self.name} has schema {schema}, and this msgflow reads schema {SCHEMA}; "
                "use a msgflow of the version that made it"
            )

    def _explain(self, error: Exception) -> str:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return f"{self.name} is a file, but no SQLite database; it was left as it is. Give the path of a new file"
        if self._file is not None and not self._file.parent.is_dir():
            return f"there is no folder {str(self._file.parent)!r} to keep {self._file.name} in; create it first"
        reason = " ".join(str(cause).split())
        advice = "another process holds its lock" if _is_busy(error) else "see that it can be reached and written to"
        return f"the version store {self.name} cannot be used: {reason}; {advice}"


def _url(place: str | os.PathLike[str]) -> URL:
    if not isinstance(place, str | os.PathLike):
        raise TypeError(f"a store is in a file or at a database URL, which are text, not {type(place).__name__}")
    if not isinstance(place, str) or "://" not in place:
        return URL.create("sqlite", database=os.fsdecode(place))
    try:
        url = make_url(place)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")
        asynchronous = url.get_dialect().is_async
    except (ArgumentError, NoSuchModuleError, ValueError):  # whose messages may hold the password
        asynchronous, url = True, URL.create("unknown")
    if asynchronous or url.get_backend_name() not in ("sqlite", "postgresql"):
        raise VersionStoreError(
            "this URL names no database that can hold versions; give a path such as 'prompts.db', "
            "or 'postgresql://user:password@host/database'"
        )
    return url


def _sqlite_file(url: URL) -> tuple[Path, str]:
    """Where the file is, even after a change of folder, and what messages call it."""
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise VersionStoreError(f"{name!r} is no file that several processes could open; give a path: 'prompts.db'")
    return Path(name).absolute(), name


def _engine(url: URL, name: str) -> Engine:
    # Parameters are prompts and messages, which are not for the tracebacks of errors.
    try:
        if url.get_backend_name() == "postgresql":
            timeout = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_S}
            return create_engine(
                url, isolation_level="READ COMMITTED", pool_pre_ping=True, connect_args=timeout, hide_parameters=True
            )
        # A connection for each transaction: a file that was put back is seen, and none is shared with a forked child.
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_S}, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise VersionStoreError(
            f"{name} needs the driver {error.name}, which is not installed: pip install 'msgflow[postgres]'"
        ) from error
    event.listen(engine, "connect", _leave_transactions_to_us)
    event.listen(engine, "begin", _begin_transaction)
    return engine


def _close(engine: Engine, process: int) -> None:
    if process == os.getpid():
        engine.dispose()


def _leave_transactions_to_us(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _begin_transaction(connection: Connection) -> None:
    statement = connection.get_execution_options()["begin"]
    if statement:
        connection.exec_driver_sql(statement)


def _is_busy(error: BaseException) -> bool:
    """Whether SQLite gave up waiting for another process; the low byte of its code is the kind of error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF in BUSY
