"""A state is seen whole: writers that are killed at any moment, and readers that race with writers."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import msgflow as mf
from msgflow.state import disk

ROOT = Path(__file__).parent.parent
FORMATS = pytest.mark.parametrize("name", ["s.toml", "s.json", "s.safetensors", "folder"])


def in_a_process(task, path, *numbers, timeout_s=50):
    """What a task of tests.state_writers finds."""
    line = [sys.executable, "-m", "tests.state_writers", task, str(path), *map(str, numbers)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


@FORMATS
def test_writers_killed_at_random_moments_leave_the_old_or_the_new_state(tmp_path, name):
    report = in_a_process("kill_at_random", tmp_path / name, 12, 1)
    assert sum(report["found"].values()) == 12 and not report["leftovers"]


@pytest.mark.stress
@pytest.mark.timeout(300)
@FORMATS
def test_two_hundred_writers_killed_at_random_moments_leave_the_old_or_the_new_state(tmp_path, name):
    report = in_a_process("kill_at_random", tmp_path / name, 200, 2, timeout_s=300)
    assert sum(report["found"].values()) == 200 and len(report["found"]) == 2
    assert report["cut_off"] > 0 and not report["leftovers"]


@FORMATS
def test_a_writer_killed_before_any_of_its_steps_leaves_the_old_or_the_new_state(tmp_path, name):
    """All steps before one leave the old state, all after it the new one."""
    report = in_a_process("kill_before_each_step", tmp_path / name)
    order = report["order"]
    assert order == "a" * order.count("a") + "b" * order.count("b") and order.count("a") > 5 and order.count("b") > 1
    assert not report["leftovers"]


@FORMATS
def test_readers_that_race_with_writers_see_whole_states_only(tmp_path, name):
    report = in_a_process("read_while_writing", tmp_path / name, 1 if name != "folder" else 2, 0.3)
    assert len(report["found"]) == 2 and not report["leftovers"]


def temporary(folder, letter, age_s):
    path = folder / f".msgflow-{letter * 16}.tmp"
    path.write_text("half a state")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_killed_writers_left_behind_goes_with_the_next_save_and_nothing_else(tmp_path):
    dead, young, living = (temporary(tmp_path, letter, age) for letter, age in [("a", 60), ("b", 1), ("c", 60)])
    others = [tmp_path / name for name in (".msgflow-notes.tmp", "x.tmp", f"{'d' * 16}.tmp")]
    for path in others:
        path.touch()
    link = tmp_path / f".msgflow-{'e' * 16}.tmp"
    link.symlink_to(others[0])
    folder = tmp_path / f".msgflow-{'f' * 16}.tmp"
    folder.mkdir()
    with living.open() as file:
        disk.take_lock(file.fileno())
        mf.save({"a": 1}, tmp_path / "s.json")
    assert not dead.exists() and all(path.exists() for path in [young, living, *others, link, folder])
    mf.save({"a": 2}, tmp_path / "s.json")
    assert not living.exists()


def test_without_locks_a_temporary_file_is_left_alone_for_an_hour(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    old, older = temporary(tmp_path, "a", 3000), temporary(tmp_path, "b", 4000)
    mf.save({"a": 1}, tmp_path / "s.json")
    assert old.exists() and not older.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_may_be_written_to_but_not_listed_is_written_to(tmp_path):
    (tmp_path / "inbox").mkdir(mode=0o300)
    mf.save({"a": 1}, tmp_path / "inbox" / "s.json")
    assert mf.load(tmp_path / "inbox" / "s.json") == {"a": 1}
