"""The database under a store: what cannot be one, locks, outages, forks, and never a held event loop."""

import asyncio
import gc
import os
import sqlite3
import sys
import threading
import time
import warnings

import pytest

import msgflow.nn as nn
from msgflow.errors import VersionStoreError
from msgflow.versions import Store, database
from tests import version_places
from tests.in_python import run_script
from tests.postgres import require_postgres

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

A, B = {"prompt": "Be kind."}, {"prompt": "Be brief."}


def lock(path):
    """Another writer, in the middle of a transaction."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


# --- places ----------------------------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_use(tmp_path):
    store = Store(tmp_path / "prompts.db")
    assert not list(tmp_path.iterdir())
    assert store.log() == [] and (tmp_path / "prompts.db").exists()


def test_a_path_means_the_same_file_after_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("prompts.db")
    id_ = store.commit(A)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert store.resolve(id_) == id_ and repr(store) == "Store('prompts.db')"


def test_odd_file_names_and_sqlite_urls_are_files(tmp_path):
    for name in ("a b?c#d%41.db", "\u00fc.db", "'; x.db"):
        store = Store(tmp_path / name)
        store.commit(A)
        assert (tmp_path / name).stat().st_size > 0
    assert Store(f"sqlite:///{tmp_path}/url.db").commit(A) and (tmp_path / "url.db").exists()


def test_the_journal_is_a_write_ahead_log(tmp_path):
    Store(tmp_path / "prompts.db").commit(A)
    connection = sqlite3.connect(tmp_path / "prompts.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_database_of_an_application_may_hold_versions_as_well(tmp_path):
    connection = sqlite3.connect(tmp_path / "app.db")
    connection.executescript("CREATE TABLE states (id TEXT); INSERT INTO states VALUES ('mine')")
    store = Store(tmp_path / "app.db")
    store.commit(A)
    assert connection.execute("SELECT * FROM states").fetchall() == [("mine",)] and len(store.log()) == 1
    connection.close()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "prompts.toml"
    path.write_text("prompt = 'Be kind.'\n" * 100)
    store = Store(path)
    for ask in (store.log, lambda: store.commit(A)):
        with pytest.raises(VersionStoreError, match=r"prompts\.toml is a file, but no SQLite database"):
            ask()
    assert path.read_text() == "prompt = 'Be kind.'\n" * 100 and os.listdir(tmp_path) == ["prompts.toml"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(VersionStoreError, match=r"there is no folder .*nowhere'.* create it first"):
        Store(tmp_path / "nowhere" / "prompts.db").log()


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(VersionStoreError, match="unable to open database file"):
        Store(tmp_path).log()


@pytest.mark.parametrize("place", [":memory:", "sqlite://", "sqlite:///file:x?mode=memory&uri=true"])
def test_memory_is_no_place_for_other_processes(place):
    with pytest.raises(VersionStoreError, match="is no file that several processes could open"):
        Store(place)


@pytest.mark.parametrize(
    "place",
    [
        "mysql://me:secret@host/db",
        "https://me:secret@host",
        "://secret",
        "postgresql+asyncpg://me:secret@host/db",
        "sqlite+aiosqlite:///secret.db",
        "postgresql://me:secret@host:port/db",
        "nonsense+secret://x",
    ],
)
def test_other_urls_are_refused_without_their_password(place):
    with pytest.raises(VersionStoreError, match="names no database that can hold versions") as caught:
        Store(place)
    assert "secret" not in str(caught.value)


def test_what_is_no_place_is_refused():
    with pytest.raises(TypeError, match="not int"):
        Store(5)


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(VersionStoreError, match=r"pip install 'msgflow\[postgres\]'"):
        Store("postgresql://host/db")


def test_a_server_that_is_not_there_is_an_error_without_the_password(tmp_path):
    pytest.importorskip("psycopg")
    store = Store(f"postgres://me:secret@/db?host={tmp_path}&password=secret&connect_timeout=2")
    with pytest.raises(VersionStoreError, match=r"cannot be used: .*see that it can be reached") as caught:
        store.log()
    assert "secret" not in f"{caught.value}{store!r}" and isinstance(caught.value, OSError)


# --- schema ----------------------------------------------------------------------------------------------------------


def set_schema(place, number):
    Store(place).commit(A)
    store = Store(place)
    with store._database._engine.connect().execution_options(begin="BEGIN") as connection:
        connection.exec_driver_sql(f"UPDATE msgflow_store SET schema = {number}")
        connection.commit()
    store.close()


def test_a_store_of_another_schema_is_refused(store, place):
    store.log()
    set_schema(place, 99)
    for ask in (Store(place).log, lambda: store.commit(B)):
        with pytest.raises(VersionStoreError, match="has schema 99, and this msgflow reads schema 1"):
            ask()


def test_threads_that_make_one_store_at_once_all_find_it_made(place):
    stores = [Store(place) for _ in range(8)]
    failures = []

    def use(number):
        try:
            stores[number].commit({"n": number})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(stores[0].log()) == 8
    for store in stores:
        store.close()


# --- locks -----------------------------------------------------------------------------------------------------------


def test_a_reader_does_not_wait_for_a_writer(tmp_path):
    store = Store(tmp_path / "prompts.db")
    id_ = store.commit(A)
    connection = lock(tmp_path / "prompts.db")
    began = time.monotonic()
    assert store.checkout(id_) == A and store.log() and time.monotonic() - began < 1
    connection.close()


def test_a_writer_waits_until_the_lock_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    store = Store(tmp_path / "prompts.db")
    store.commit(A)
    connection = lock(tmp_path / "prompts.db")
    timer = threading.Timer(0.4, connection.rollback)
    timer.start()
    store.commit(B)
    timer.join()
    connection.close()
    assert len(store.log()) == 2


def test_a_lock_that_is_never_free_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    monkeypatch.setattr(database, "GIVE_UP_S", 0.2)
    store = Store(tmp_path / "prompts.db")
    store.commit(A)
    connection = lock(tmp_path / "prompts.db")
    with pytest.raises(VersionStoreError, match="locked; another process holds its lock"):
        store.commit(B)
    connection.close()
    assert store.commit(B)


def test_a_lock_of_postgres_that_is_never_free_is_an_error(monkeypatch):
    server = require_postgres()
    monkeypatch.setattr(database, "GIVE_UP_S", 0.2)
    store, other = Store(server.new_schema()), None
    store.commit(A)
    other = store._database._engine.connect()
    other.exec_driver_sql("SELECT * FROM msgflow_store FOR UPDATE")
    with pytest.raises(VersionStoreError, match="lock timeout"):
        store.commit(B)
    other.close()
    assert store.commit(B)
    store.close()


class Keeper(nn.Module):
    def __init__(self, store):
        super().__init__()
        self.store = store

    def forward(self):
        return self.store.commit(B)


async def test_a_flow_that_waits_for_the_database_holds_nobody_up(tmp_path):
    store = Store(tmp_path / "prompts.db")
    store.commit(A)
    connection = lock(tmp_path / "prompts.db")
    task = asyncio.create_task(Keeper(store).acall())
    for _ in range(10):
        await asyncio.sleep(0.02)
    assert not task.done()
    connection.close()
    assert store.checkout(await task) == B


def test_what_a_prompt_says_is_in_no_error(tmp_path):
    store = Store(tmp_path / "prompts.db")
    store.commit(A)
    connection = sqlite3.connect(tmp_path / "prompts.db")
    connection.execute("CREATE TRIGGER no BEFORE INSERT ON msgflow_commits BEGIN SELECT RAISE(ABORT, 'not here'); END")
    connection.close()
    with pytest.raises(VersionStoreError, match="cannot be used: not here") as caught:
        store.commit(B, "a secret message")
    assert "secret" not in f"{caught.value} {caught.value.__cause__}" and len(store.log()) == 1


# --- outages ---------------------------------------------------------------------------------------------------------


def test_a_file_that_is_gone_is_an_error_and_not_made_anew(tmp_path):
    store = Store(tmp_path / "prompts.db")
    id_ = store.commit(A)
    (tmp_path / "prompts.db").rename(tmp_path / "away.db")
    for ask in (store.log, lambda: store.commit(B)):
        with pytest.raises(VersionStoreError, match="is gone; put it back"):
            ask()
    assert os.listdir(tmp_path) == ["away.db"]
    (tmp_path / "away.db").rename(tmp_path / "prompts.db")
    assert store.checkout(id_) == A


def test_connections_that_the_server_closed_are_replaced():
    server = require_postgres()
    store = Store(server.new_schema())
    id_ = store.commit(A)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert store.checkout(id_) == A
    store.close()


def test_a_closed_store_opens_again_when_it_is_used(store):
    id_ = store.commit(A)
    store.close()
    store.close()
    assert store.checkout(id_) == A


def test_a_forked_child_uses_connections_of_its_own(place):
    printed = run_script(
        """
        import os, sys, warnings
        from msgflow.versions import Store
        warnings.simplefilter("ignore", ResourceWarning)  # psycopg: the child has not closed what is the parent's
        store = Store(sys.argv[1])
        store.commit({"n": 0})
        for use in (lambda: store.commit({"n": 1}), store.close, str):
            if os.fork() == 0:
                use()
                sys.exit()
            assert os.wait()[1] == 0
        store.commit({"n": 2})
        print(len(store.log()))
        """,
        place,
    )
    assert printed == "3"


def test_a_store_that_is_dropped_leaves_no_connection_open(place):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a connection that is collected while it is open warns
        Store(place).log()
        gc.collect()
