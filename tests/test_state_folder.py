"""States as folders: a text file that people edit and a file of tensors, which change in one step."""

import os
import re
import time

import numpy
import pytest
from safetensors.numpy import save_file

import msgflow as mf
from msgflow.errors import StateFileError, StateFileMissing
from msgflow.state import disk, folder

OLD = {"agent.prompt": "Be kind.", "w": numpy.arange(3.0)}
NEW = {"agent.prompt": "Be formal.\nAlways.", "w": numpy.ones((2, 2), "float16")}


def same(state, other):
    values, others = ({key: repr(value) for key, value in one.items()} for one in (state, other))
    return values == others


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_text_and_tensors_get_a_file_each_and_come_back(tmp_path):
    mf.save(OLD, tmp_path / "run")
    assert names(tmp_path / "run") == ["state.toml", "tensors.safetensors"]
    text = (tmp_path / "run" / "state.toml").read_text()
    assert re.fullmatch(r'\[agent\]\nprompt = "Be kind\."\n\n\[msgflow\]\ntensors_sha256 = "[0-9a-f]{64}"\n', text)
    assert same(mf.load(tmp_path / "run"), OLD)


def test_a_later_state_takes_the_place_of_an_earlier_one(tmp_path):
    for state in (OLD, NEW, {"only": "text"}, OLD, {"v": numpy.zeros(0)}, {}):
        mf.save(state, tmp_path / "run")
        assert same(mf.load(tmp_path / "run"), state)
        assert names(tmp_path / "run") == ["state.toml", "tensors.safetensors"]


def test_a_state_of_text_needs_no_file_of_tensors(tmp_path):
    mf.save({"a.b": "text"}, tmp_path / "run")
    assert (tmp_path / "run" / "state.toml").read_text() == '[a]\nb = "text"\n' and names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["state.toml"] and mf.load(tmp_path / "run") == {"a.b": "text"}


def test_comments_and_order_of_the_text_stay(tmp_path):
    mf.save(OLD, tmp_path / "run")
    text = tmp_path / "run" / "state.toml"
    text.write_text("# reviewed by legal\n" + text.read_text().replace('"Be kind."', '"Be brief." # short'))
    assert mf.load(tmp_path / "run")["agent.prompt"] == "Be brief."
    mf.save({**OLD, "agent.prompt": "Be long."}, tmp_path / "run")
    assert text.read_text().startswith('# reviewed by legal\n[agent]\nprompt = "Be long." # short\n')


def test_tensors_that_did_not_change_are_not_written_again(tmp_path):
    mf.save(OLD, tmp_path / "run")
    before = (tmp_path / "run" / "tensors.safetensors").stat().st_ino
    mf.save({**OLD, "agent.prompt": "new"}, tmp_path / "run")
    assert (tmp_path / "run" / "tensors.safetensors").stat().st_ino == before
    assert same(mf.load(tmp_path / "run"), {**OLD, "agent.prompt": "new"})


def test_a_folder_made_by_hand_is_loaded_and_saved_over(tmp_path):
    (tmp_path / "state.toml").write_text('prompt = "Hi" # greeting\n')
    assert mf.load(tmp_path) == {"prompt": "Hi"}
    save_file({"w": numpy.arange(2)}, tmp_path / "tensors.safetensors", {"format": "pt"})
    assert same(mf.load(tmp_path), {"prompt": "Hi", "w": numpy.arange(2)})
    mf.save({"prompt": "Ho", "w": numpy.arange(3)}, tmp_path)
    assert same(mf.load(tmp_path), {"prompt": "Ho", "w": numpy.arange(3)})
    assert (tmp_path / "state.toml").read_text().startswith('prompt = "Ho" # greeting\n')


def test_an_existing_folder_may_have_a_suffix_and_other_files(tmp_path):
    path = tmp_path / "run.v2"
    path.mkdir()
    (path / "notes.md").write_text("mine")
    (path / "elsewhere").symlink_to("/")
    mf.save(OLD, path)
    assert same(mf.load(path), OLD) and (path / "notes.md").read_text() == "mine"


def test_a_folder_is_reached_through_a_link(tmp_path):
    (tmp_path / "latest").symlink_to("run")
    mf.save(OLD, tmp_path / "run")
    mf.save(NEW, tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink() and same(mf.load(tmp_path / "run"), NEW)
    assert same(mf.load(tmp_path / "latest"), NEW)


def test_tensors_that_are_not_those_of_the_text_are_refused_with_the_remedy(tmp_path):
    mf.save(OLD, tmp_path)
    save_file({"w": numpy.zeros(1)}, tmp_path / "tensors.safetensors")
    with pytest.raises(StateFileError, match=r"not the file that state\.toml was saved with.*take the line"):
        mf.load(tmp_path)
    text = (tmp_path / "state.toml").read_text()
    (tmp_path / "state.toml").write_text(re.sub("tensors_sha256.*\n", "", text))
    assert same(mf.load(tmp_path), {"agent.prompt": "Be kind.", "w": numpy.zeros(1)})
    (tmp_path / "state.toml").write_text(text)
    (tmp_path / "tensors.safetensors").unlink()
    with pytest.raises(StateFileError, match="not the file"):
        mf.load(tmp_path)


@pytest.mark.parametrize("after", [OLD, NEW, {"w": numpy.zeros(9)}, {"only": "text"}], ids=["old", "new", "w", "text"])
def test_a_state_that_was_left_between_its_two_files_is_whole(tmp_path, after):
    """The tensors are under the name that they have until the text has changed; the next save gives them theirs."""
    mf.save(OLD, tmp_path)
    mf.save(NEW, tmp_path)
    digest = re.search("[0-9a-f]{64}", (tmp_path / "state.toml").read_text())[0]
    (tmp_path / "tensors.safetensors").rename(tmp_path / f"tensors-{digest[:16]}.safetensors")
    save_file({"w": numpy.zeros(9)}, tmp_path / "tensors.safetensors")
    assert same(mf.load(tmp_path), NEW)
    mf.save(after, tmp_path)
    assert same(mf.load(tmp_path), after) and names(tmp_path) == ["state.toml", "tensors.safetensors"]


def test_the_key_of_the_digest_is_refused_as_a_key_of_the_state(tmp_path):
    for value in (1, numpy.zeros(1)):
        with pytest.raises(StateFileError, match=r"'msgflow\.tensors_sha256'; rename that key"):
            mf.save({"msgflow.tensors_sha256": value}, tmp_path / "run")
    near = {"msgflow": 1, "msgflow.tensors": 2, "tensors_sha256": 3, "w": numpy.zeros(1)}
    mf.save(near, tmp_path / "run")
    assert same(mf.load(tmp_path / "run"), near)


@pytest.mark.parametrize("digest", ['"../../secret"', '"' + "A" * 64 + '"', "5", '""', "[]"])
def test_a_digest_that_is_none_leads_nowhere(tmp_path, digest):
    (tmp_path / "state.toml").write_text(f"[msgflow]\ntensors_sha256 = {digest}\n")
    with pytest.raises(StateFileError, match="no sha256"):
        mf.load(tmp_path)


@pytest.mark.parametrize("name", ["state.toml", "tensors.safetensors", "tensors-0123456789abcdef.safetensors"])
def test_links_in_the_folder_are_refused(tmp_path, name):
    mf.save(OLD, tmp_path / "other")
    mf.save(OLD, tmp_path / "run")
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "other" / name)
    for call in (mf.load, lambda path: mf.save(NEW, path)):
        with pytest.raises(StateFileError, match=f"{name} is a symbolic link"):
            call(tmp_path / "run")
    assert same(mf.load(tmp_path / "other"), OLD)


@pytest.mark.parametrize("name", ["state.toml", "tensors.safetensors"])
def test_folders_and_pipes_in_the_place_of_files_are_refused(tmp_path, name):
    for make in (os.mkdir, os.mkfifo):
        path = tmp_path / make.__name__
        mf.save(OLD, path)
        (path / name).unlink()
        make(path / name)
        for call in (mf.load, lambda path: mf.save(NEW, path)):
            with pytest.raises(StateFileError, match=f"{name} is not a regular file"):
                call(path)


def test_a_key_in_both_files_is_refused(tmp_path):
    (tmp_path / "state.toml").write_text("a = 1\n")
    save_file({"a": numpy.zeros(1)}, tmp_path / "tensors.safetensors")
    with pytest.raises(StateFileError, match=r"'a' is there twice, in state\.toml and in tensors\.safetensors"):
        mf.load(tmp_path)


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "state.toml").write_text("a = \n")
    with pytest.raises(StateFileError, match=r"state\.toml: not valid TOML.*line 1"):
        mf.load(tmp_path)
    (tmp_path / "state.toml").write_text("a = 1\n")
    (tmp_path / "tensors.safetensors").write_bytes(b"x" * 9)
    with pytest.raises(StateFileError, match=r"tensors\.safetensors: not a safetensors file"):
        mf.load(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(StateFileMissing, match="run"):
        mf.load(tmp_path / "run")
    with pytest.raises(StateFileMissing, match=r"no state\.toml in the folder"):
        mf.load(tmp_path)
    with pytest.raises(StateFileError, match=r"nowhere.*create it first"):
        mf.save(OLD, tmp_path / "nowhere" / "run")
    (tmp_path / "file").touch()
    for call in (mf.load, lambda path: mf.save(OLD, path)):
        with pytest.raises(StateFileError, match=r"no suffix, and is no folder; a state is a folder or one of \.json"):
            call(tmp_path / "file")


def test_a_refused_save_leaves_the_old_state_and_makes_no_folder(tmp_path):
    mf.save(OLD, tmp_path / "run")
    for path in (tmp_path / "run", tmp_path / "new"):
        with pytest.raises(StateFileError, match="'none' cannot be written as TOML"):
            mf.save({**NEW, "none": None}, path)
    assert same(mf.load(tmp_path / "run"), OLD) and names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["state.toml", "tensors.safetensors"]


def test_a_write_that_fails_half_way_leaves_the_old_state(tmp_path, monkeypatch):
    mf.save(OLD, tmp_path / "run")
    written = []

    def fail_at_the_text(target, data, real=disk.replace):
        written.append(target.name)
        if target.name == "state.toml":
            raise OSError("disk full")
        real(target, data)

    monkeypatch.setattr(disk, "replace", fail_at_the_text)
    for path in (tmp_path / "run", tmp_path / "new"):
        with pytest.raises(OSError, match="disk full"):
            mf.save(NEW, path)
    assert written[0].startswith("tensors-") and same(mf.load(tmp_path / "run"), OLD)
    monkeypatch.undo()
    mf.save(OLD, tmp_path / "run")
    assert names(tmp_path / "run") == ["state.toml", "tensors.safetensors"]


def test_a_writer_waits_for_its_turn_and_says_when_it_never_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "TURN_TIMEOUT_S", 0.05)
    with disk.turn(tmp_path) as alone, pytest.raises(StateFileError, match="another process has been writing"):
        mf.save(OLD, tmp_path)
    assert alone
    mf.save(OLD, tmp_path)
    assert same(mf.load(tmp_path), OLD)


@pytest.mark.parametrize("missing", ["fcntl", "O_DIRECTORY"])
def test_without_locks_what_may_be_a_living_writers_stays_for_an_hour(tmp_path, monkeypatch, missing):
    if missing == "fcntl":
        monkeypatch.setitem(__import__("sys").modules, "fcntl", None)
    else:
        monkeypatch.delattr(os, "O_DIRECTORY")
    young, old = (tmp_path / f"tensors-{16 * digit}.safetensors" for digit in "01")
    young.touch()
    old.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    mf.save(OLD, tmp_path)
    assert same(mf.load(tmp_path), OLD) and young.exists() and not old.exists()


def test_a_reader_that_a_writer_comes_between_looks_again(tmp_path, monkeypatch):
    """Whenever the reader has read the text of a state, a writer saves the next one."""
    for by_hand in (False, True):
        mf.save(OLD, tmp_path)
        if by_hand:
            text = (tmp_path / "state.toml").read_text()
            (tmp_path / "state.toml").write_text(re.sub("tensors_sha256.*\n", "", text))
        left = [OLD, NEW]

        def interrupted(path, *args, left=left, real=disk.read, **kwargs):
            data = real(path, *args, **kwargs)
            if left and path.name == "state.toml":
                state = left.pop()
                with monkeypatch.context() as patch:
                    patch.setattr(disk, "read", real)
                    mf.save({**state, "agent.prompt": f"{len(left)}"}, tmp_path)
            return data

        with monkeypatch.context() as patch:
            patch.setattr(disk, "read", interrupted)
            loaded = mf.load(tmp_path)
        assert same(loaded, {**OLD, "agent.prompt": "0"}) and not left


def test_a_file_that_goes_while_the_folder_is_read_is_looked_for_again(tmp_path, monkeypatch):
    mf.save(OLD, tmp_path)
    listings = [["state.toml", "tensors-0123456789abcdef.safetensors"]]
    monkeypatch.setattr(folder, "_files", lambda path, real=folder._files: listings.pop() if listings else real(path))
    assert same(mf.load(tmp_path), OLD) and not listings
