"""A PostgreSQL server of the tests' own: started on first use, on a Unix socket, without fsync; gone at the end."""

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

START_LIMIT_S = 30
_numbers = itertools.count()


class Server:
    def __init__(self, folder: Path, programs: Path, user: tuple[int, int] | None) -> None:
        self.folder, self._programs, self._user = folder, programs, user

    def run(self, program: str, *arguments: str) -> None:
        identity = {"user": self._user[0], "group": self._user[1], "extra_groups": []} if self._user else {}
        with (self.folder / "commands.log").open("a") as log:  # the server keeps it open, as it would keep a pipe
            done = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                timeout=START_LIMIT_S,
                check=False,
                **identity,
            )
        assert done.returncode == 0, (self.folder / "commands.log").read_text()[-2000:]

    def start(self) -> None:
        options = f"-F -c listen_addresses= -c unix_socket_directories={self.folder}"
        self.run("pg_ctl", "start", "-w", "-D", "data", "-l", "server.log", "-o", options)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", "data")

    def url(self, schema: str = "") -> str:
        options = f"&options=-csearch_path%3D{schema}" if schema else ""
        return f"postgresql://postgres:secret@/postgres?host={self.folder}{options}"

    def execute(self, statement: str) -> list[tuple]:
        import psycopg

        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def new_schema(self) -> str:
        """The URL of an empty place of its own."""
        schema = f"test{next(_numbers)}"
        self.execute(f"CREATE SCHEMA {schema}")
        return self.url(schema)


def _programs() -> Path | None:
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return Path(found).resolve().parent if found else versions[-1].parent if versions else None


def _nobody() -> tuple[int, int]:
    import pwd

    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


@cache
def _server() -> Server | str:
    """The server, or the reason why there is none."""
    programs = _programs()
    if programs is None:
        return "PostgreSQL is not installed: no initdb, neither on the PATH nor below /usr/lib/postgresql"
    try:
        import psycopg  # noqa: F401  (only whether it is there)
    except ImportError as error:
        return f"psycopg is not installed ({error})"
    user = _nobody() if hasattr(os, "getuid") and os.getuid() == 0 else None  # initdb refuses to be run by root
    # Not below pytest's own folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if user:
        os.chown(folder, *user)
    server = Server(folder, programs, user)
    server.run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
    server.start()
    atexit.register(server.stop)
    return server


def require_postgres() -> Server:
    """The one server of this run. Skips the test, with the reason, where there can be none."""
    server = _server()
    if isinstance(server, str):
        pytest.skip(server)
    return server
