"""Several processes write to one store at once, and one of them may be killed: nothing is lost, nothing is locked."""

import signal
import subprocess
import sys
from collections import Counter

import pytest

from msgflow.versions import Store
from tests import version_places

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

WRITERS = 4
WRITER = """
import sys
from msgflow.versions import Store

place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = Store(place)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    id_ = store.commit({"who": name, "number": number}, f"{name} {number}", author=name)
    store.tag("production", id_, author=name)
    store.tag(name, id_)
    if number % 5 == 4:
        store.rollback("production", author=name)
        store.rollback(name)
    print(id_, flush=True)
"""


def start(place, name, count):
    command = [sys.executable, "-W", "error", "-c", WRITER, place, name, str(count)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def go(writers):
    """Let them begin at the same moment, when all of them are ready."""
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")


def write_together(store, place, count):
    names = [f"writer-{number}" for number in range(WRITERS)]
    writers = [start(place, name, count) for name in names]
    go(writers)
    for writer in writers:
        _, problems = writer.communicate(timeout=50)
        assert (writer.returncode, problems) == (0, "")
    log, moves = store.log(), store.tag_log("production")
    assert Counter(version.message for version in log) == Counter(f"{n} {i}" for n in names for i in range(count))
    assert Counter(move.author for move in moves) == dict.fromkeys(names, count)
    assert Counter(move.undone_by for move in moves if move.undone_at) == dict.fromkeys(names, count // 5)
    ids = {version.message: version.id for version in log}
    for name in names:  # the last of each was rolled back
        assert store.resolve(name) == ids[f"{name} {count - 2}"]
        assert len(store.tag_log(name)) == count
    assert store.checkout(ids["writer-3 7"]) == {"who": "writer-3", "number": 7}


def test_four_processes_that_make_the_store_and_write_to_it_lose_nothing(store, place):
    write_together(store, place, 10)


@pytest.mark.stress
def test_four_processes_that_write_for_long_lose_nothing(store, place):
    write_together(store, place, 250)


@pytest.mark.stress
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_writers_lose_nothing_that_was_confirmed(kind, tmp_path):
    place = version_places.new_place(kind, tmp_path)
    for round_ in range(5):
        writers = [start(place, f"writer-{round_}-{number}", 10_000) for number in range(WRITERS)]
        go(writers)
        confirmed = [[writer.stdout.readline().strip() for _ in range(15)] for writer in writers]
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            writer.communicate()
        store = Store(place)
        assert {id_ for ids in confirmed for id_ in ids} <= {version.id for version in store.log()}
        store.commit({"round": round_})
        store.close()
