"""Files of states: suffixes, atomic writing, refusals that leave the disk as it was."""

import os
import stat
import subprocess
import sys

import pytest

import msgflow.state as state
from msgflow.errors import NotJson, StateFileError

FORMATS = pytest.mark.parametrize("suffix", ["json", "toml"])


class Prompt(str):
    """Text with more to it, as module attributes are."""


@FORMATS
def test_a_state_comes_back_as_it_was(tmp_path, suffix):
    text = 'line one\nline "two" \\ {{ braces }} \u00e9\u4e2d\n\n  indented\ttab'
    saved = {"title": "outer", "inner.instructions": text, "inner.n": 3, "steps.0.response": "Yes", "on": True}
    state.save(saved, tmp_path / f"s.{suffix}")
    loaded = state.load(str(tmp_path / f"s.{suffix}"))
    assert loaded == saved
    assert [type(value) for value in loaded.values()] == [type(saved[key]) for key in loaded]


@FORMATS
def test_a_state_without_keys_comes_back(tmp_path, suffix):
    state.save({}, tmp_path / f"s.{suffix}")
    assert state.load(tmp_path / f"s.{suffix}") == {}


@FORMATS
def test_text_of_a_subclass_is_saved_as_text(tmp_path, suffix):
    state.save({Prompt("key"): Prompt("text"), "list": [Prompt("item")]}, tmp_path / f"s.{suffix}")
    loaded = state.load(tmp_path / f"s.{suffix}")
    assert loaded == {"key": "text", "list": ["item"]}
    assert type(loaded["key"]) is type(loaded["list"][0]) is str


@FORMATS
def test_a_value_of_a_wrong_type_is_refused_with_its_key_and_nothing_is_left_behind(tmp_path, suffix):
    for value, place in [(object(), "a.b"), ([1, {"x": b""}], r"a.b'\[1\]\['x'\]"), ((1,), "tuple"), ({1: 2}, "key 1")]:
        with pytest.raises(TypeError, match=place):
            state.save({"fine": 1, "a.b": value}, tmp_path / f"s.{suffix}")
    assert not list(tmp_path.iterdir())


@FORMATS
def test_a_refused_save_leaves_the_old_file_untouched(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    state.save({"a": 1}, path)
    before = path.read_bytes()
    with pytest.raises(StateFileError, match="'huge'"):
        state.save({"a": 2, "huge": 10**5000}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@FORMATS
def test_a_value_that_contains_itself_or_is_nested_too_deep_is_refused_with_its_key(tmp_path, suffix):
    loop: list[object] = []
    loop.append(loop)
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(NotJson, match="'me'"):
        state.save({"me": loop}, tmp_path / f"s.{suffix}")
    if suffix == "toml":
        with pytest.raises(StateFileError, match="'me'"):
            state.save({"you": 1, "me": deep}, tmp_path / "s.toml")
        assert not list(tmp_path.iterdir())
    else:
        state.save({"me": deep}, tmp_path / "s.json")
        assert state.load(tmp_path / "s.json") == {"me": deep}


@pytest.mark.parametrize("name", ["s.yaml", "s.pt", ".toml", ".Safetensors", "s.toml.bak"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path, name):
    with pytest.raises(StateFileError, match=r"\.json, \.toml"):
        state.save({"a": 1}, tmp_path / name)
    with pytest.raises(StateFileError, match=r"\.json, \.toml"):
        state.load(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_suffix_may_be_in_capitals(tmp_path):
    state.save({"a": 1}, tmp_path / "S.TOML")
    assert (tmp_path / "S.TOML").read_text() == "a = 1\n"


def test_something_that_is_no_state_dict_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"list.*state_dict\(\)"):
        state.save([("a", 1)], tmp_path / "s.json")
    with pytest.raises(TypeError, match="key 5"):
        state.save({5: 1}, tmp_path / "s.json")


@FORMATS
def test_a_missing_folder_is_named(tmp_path, suffix):
    with pytest.raises(StateFileError, match="nowhere"):
        state.save({"a": 1}, tmp_path / "nowhere" / f"s.{suffix}")


@FORMATS
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(FileNotFoundError, match=f"s.{suffix}"):
        state.load(tmp_path / f"s.{suffix}")


@FORMATS
def test_a_folder_with_the_suffix_of_a_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    path.mkdir()
    with pytest.raises(StateFileError, match="not a regular file"):
        state.save({"a": 1}, path)
    with pytest.raises(StateFileError, match="not a regular file"):
        state.load(path)


@FORMATS
def test_an_empty_file_is_refused_as_cut_off(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    path.touch()
    with pytest.raises(StateFileError, match="empty"):
        state.load(path)
    state.save({"a": 1}, path)
    assert state.load(path) == {"a": 1}


@FORMATS
def test_a_file_that_is_not_utf8_is_refused_with_its_place(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    path.write_bytes(b"\n ab\xff")
    with pytest.raises(StateFileError, match=rf"s\.{suffix}: not UTF-8 at line 2, byte 4"):
        state.load(path)


@FORMATS
def test_a_byte_order_mark_is_not_part_of_the_state(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    state.save({"a": "\ufeff"}, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert state.load(path) == {"a": "\ufeff"}


@FORMATS
def test_a_huge_file_is_refused_before_it_is_parsed(tmp_path, suffix):
    path = tmp_path / f"s.{suffix}"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(StateFileError, match=r"larger than (67108864|8388608) bytes"):
        state.load(path)


def test_a_state_that_could_not_be_loaded_again_for_its_size_is_not_written(tmp_path):
    with pytest.raises(StateFileError, match="67108864"):
        state.save({"a": "x" * (64 * 2**20)}, tmp_path / "s.json")
    assert not list(tmp_path.iterdir())


def test_a_new_file_gets_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "s.json"
    plain = tmp_path / "plain"
    plain.touch()
    state.save({"a": 1}, path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o640)
    state.save({"a": 2}, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and state.load(path) == {"a": 2}


def test_a_symbolic_link_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "s.toml"
    link.symlink_to(tmp_path / "real" / "prompts.toml")
    for value in (1, 2):  # a link that points nowhere yet, then one that points to a file
        state.save({"a": value}, link)
        assert link.is_symlink() and state.load(tmp_path / "real" / "prompts.toml") == {"a": value}


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    path = tmp_path / "s.json"
    state.save({"a": 1}, path)

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        state.save({"a": 2}, path)
    assert state.load(path) == {"a": 1} and list(tmp_path.iterdir()) == [path]


def test_a_file_changes_in_one_step_onto_an_inode_of_its_own(tmp_path):
    """Who has the old file open goes on reading the old state."""
    path = tmp_path / "s.json"
    state.save({"a": 1}, path)
    with path.open() as reader:
        state.save({"a": 2}, path)
        assert '"a": 1' in reader.read()


def test_saving_works_where_folders_cannot_be_opened(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    state.save({"a": 1}, tmp_path / "s.json")
    assert state.load(tmp_path / "s.json") == {"a": 1}


THOUSAND_PROMPTS = """
import sys, time
import msgflow as mf
first, second = (
    {f"flow.step{key % 50}.agent{key}.instructions": f"Line {version}\\n" * 70 for key in range(1000)}
    for version in range(2)
)
mf.save(first, sys.argv[1])
start = time.process_time()
mf.save(second, sys.argv[1])
assert mf.load(sys.argv[1]) == second
print(time.process_time() - start)
"""


@pytest.mark.parametrize("name", ["s.toml", "folder"])
def test_a_thousand_prompts_are_saved_over_others_and_loaded_within_a_second(tmp_path, name):
    """In a process of its own, for its own time: coverage and other tests would be measured, too."""
    line = [sys.executable, "-c", THOUSAND_PROMPTS, str(tmp_path / name)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1
