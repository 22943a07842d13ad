"""A running module goes wherever a file goes that people edit, however their editors write it."""

import gc
import logging
import os
import time

import pytest

import msgflow as mf
from msgflow.errors import StateDictError, StateFileError, StateFileMissing
from msgflow.state.digest import digest
from msgflow.versions import Store, watch
from tests import version_places
from tests.eventually import eventually
from tests.version_places import Prompts

place, store, tmp_path = version_places.place, version_places.store, version_places.tmp_path

POLL_S = 0.02


def text(prompt, limit=1):
    return f'prompt = "{prompt}"\nlimit = {limit}\n'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "prompts.toml"
    path.write_text(text("one"))
    return path


@pytest.fixture
def messages(caplog):
    caplog.set_level(logging.INFO, "msgflow.versions")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "msgflow.versions"]


@pytest.fixture
def impatient(monkeypatch):
    """What is broken for a tenth of a second is reported."""
    monkeypatch.setattr("msgflow.versions.watching.GRACE_S", 0.1)


def write_in_place(path, content):
    path.write_text(content)


def write_by_rename(path, content):
    new = path.with_suffix(".new")
    new.write_text(content)
    new.replace(path)


def write_with_backup(path, content):
    """As vim does by default for some files: the old one moves away, then the new one is written."""
    path.replace(path.with_suffix(".bak"))
    time.sleep(2 * POLL_S)
    path.write_text(content)


def write_slowly(path, content):
    with path.open("w") as file:
        for letter in content:
            file.write(letter)
            file.flush()
            time.sleep(0.002)


def write_same_size_and_time(path, content):
    before = path.stat()
    path.write_text(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


WRITERS = [write_in_place, write_by_rename, write_with_backup, write_slowly, write_same_size_and_time]


@pytest.mark.parametrize("write", WRITERS)
def test_an_edit_is_loaded_whole_however_it_is_written(path, write, messages):
    module = Prompts()
    with watch(module, path, poll_s=POLL_S) as watcher:
        assert module("hi") == "one hi" and watcher.version == module.digest()
        for prompt in ("two", "six"):
            write(path, text(prompt))
            eventually(lambda prompt=prompt: module.prompt == prompt)
        assert watcher.version == module.digest() and watcher.refused is None and messages() == []


@pytest.mark.parametrize("name", ["prompts.json", "prompts.toml", "prompts.safetensors", "folder"])
def test_all_formats_can_be_watched(tmp_path, name):
    module = Prompts()
    mf.save(module.state_dict(), tmp_path / name)
    with watch(module, tmp_path / name, poll_s=POLL_S):
        mf.save({"prompt": "two", "limit": 2}, tmp_path / name)
        eventually(lambda: (module.prompt, module.limit) == ("two", 2))


def test_a_link_that_is_switched_is_an_edit(tmp_path):
    """As Kubernetes mounts its ConfigMaps."""
    for prompt in ("one", "two"):
        (tmp_path / f"{prompt}.toml").write_text(text(prompt))
    (tmp_path / "prompts.toml").symlink_to("one.toml")
    module = Prompts()
    with watch(module, tmp_path / "prompts.toml", poll_s=POLL_S):
        (tmp_path / "new").symlink_to("two.toml")
        (tmp_path / "new").replace(tmp_path / "prompts.toml")
        eventually(lambda: module.prompt == "two")


def test_the_default_poll_is_fast_enough(path):
    module = Prompts()
    with watch(module, path):
        write_by_rename(path, text("two"))
        assert eventually(lambda: module.prompt == "two") < 1.0


# --- what is not loaded ----------------------------------------------------------------------------------------------


def test_a_file_without_a_change_of_content_publishes_nothing(path):
    module = Prompts()
    with watch(module, path, poll_s=POLL_S):
        module.prompt = "by hand"
        os.utime(path)
        time.sleep(3 * POLL_S)
        path.write_text("# a comment\n" + text("one"))
        time.sleep(5 * POLL_S)
        assert module.prompt == "by hand"


@pytest.mark.parametrize(
    ("content", "problem"),
    [("prompt = ", "not valid TOML"), ("", "the file is empty"), (text("two") + "tone = 1\n", "tone: unexpected")],
)
def test_what_stays_broken_is_refused_once_and_the_next_edit_is_loaded(path, impatient, messages, content, problem):
    module = Prompts()
    with watch(module, path, poll_s=POLL_S) as watcher:
        good = watcher.version
        path.write_text(content)
        eventually(lambda: watcher.refused)
        time.sleep(5 * POLL_S)
        (message,) = messages()
        assert f"file '{path}': version" in message and f"{good} goes on" in message and problem in message
        assert problem in str(watcher.refused.error) and (module.prompt, watcher.version) == ("one", good)
        path.write_text(text("three"))
        eventually(lambda: module.prompt == "three")


def test_a_refusal_is_a_span(path, impatient, tracing):
    module = Prompts()
    with watch(module, path, poll_s=POLL_S) as watcher:
        path.write_text(text("two", '"x"'))
        eventually(lambda: watcher.refused)
    spans = tracing.spans
    assert [span.attributes["msgflow.version.result"] for span in spans] == ["applied", "refused"]
    assert spans[1].attributes["msgflow.state.digest"] == watcher.refused.id == digest({"prompt": "two", "limit": "x"})
    assert spans[1].attributes["msgflow.version.source"] == f"file '{path}'"


def test_a_file_that_is_gone_leaves_the_last_good_state_and_is_loaded_when_it_is_back(path, impatient, messages):
    module = Prompts()
    with watch(module, path, poll_s=POLL_S) as watcher:
        path.unlink()
        eventually(lambda: watcher.refused)
        assert isinstance(watcher.refused.error, StateFileMissing) and watcher.refused.id == ""
        assert module.prompt == "one" and len(messages()) == 1
        path.write_text(text("two"))
        eventually(lambda: module.prompt == "two")


def test_what_is_repaired_soon_is_not_worth_a_word(path, messages, monkeypatch):
    monkeypatch.setattr("msgflow.versions.watching.GRACE_S", 60.0)
    module = Prompts()
    with watch(module, path, poll_s=POLL_S) as watcher:
        path.write_text("prompt = ")
        time.sleep(5 * POLL_S)
        path.unlink()
        time.sleep(5 * POLL_S)
        path.write_text(text("two"))
        eventually(lambda: module.prompt == "two")
        assert watcher.refused is None and messages() == []


# --- the first one, the last one -------------------------------------------------------------------------------------


def test_the_first_content_has_to_fit(path, tmp_path):
    with pytest.raises(StateFileMissing):
        watch(Prompts(), tmp_path / "nowhere.toml")
    with pytest.raises(StateFileError, match=r"the suffix '\.yaml'"):
        watch(Prompts(), tmp_path / "prompts.yaml")
    path.write_text("tone = 1")
    module = Prompts()
    with pytest.raises(StateDictError, match="tone: unexpected"):
        watch(module, path)
    assert module.prompt == "Be helpful."


def test_a_path_means_the_same_file_after_a_change_of_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = Prompts()
    with watch(module, "prompts.toml", poll_s=POLL_S) as watcher:
        monkeypatch.chdir("/")
        path.write_text(text("two"))
        eventually(lambda: module.prompt == "two")
        assert repr(watcher).startswith("Watcher(file 'prompts.toml', version=")


def test_after_stop_nothing_is_loaded_and_a_dropped_module_is_let_go(path):
    module = Prompts()
    watch(module, path, poll_s=POLL_S).stop()
    path.write_text(text("two"))
    time.sleep(5 * POLL_S)
    assert module.prompt == "one"
    watcher = watch(module, path, poll_s=POLL_S)
    del module
    gc.collect()
    path.write_text(text("three"))
    time.sleep(5 * POLL_S)
    assert watcher.version == digest({"prompt": "two", "limit": 1})


async def test_it_begins_inside_of_a_flow_as_well(path, door):
    module = Prompts()

    class Begin(mf.nn.Module):
        def forward(self):
            return watch(module, path, poll_s=POLL_S)

    watcher = await door(Begin())
    path.write_text(text("two"))
    eventually(lambda: module.prompt == "two")
    watcher.stop()


# --- into a store ----------------------------------------------------------------------------------------------------


def test_a_store_keeps_every_edit_that_was_loaded(store, path):
    module = Prompts()
    with store.watch(module, path, poll_s=POLL_S) as watcher:
        for prompt in ("two", "three"):
            path.write_text(text(prompt))
            eventually(lambda prompt=prompt: module.prompt == prompt)
            eventually(lambda: store.log(1)[0].id == watcher.version)
    assert [store.checkout(version.id)["prompt"] for version in store.log()] == ["three", "two", "one"]
    assert {version.message for version in store.log()} == {"edited prompts.toml"}


def test_what_is_refused_is_not_committed(tmp_path, path, impatient):
    store, module = Store(tmp_path / "prompts.db"), Prompts()
    with store.watch(module, path, poll_s=POLL_S) as watcher:
        path.write_text(text("two", '"x"'))
        eventually(lambda: watcher.refused)
    assert len(store.log()) == 1


def test_edits_during_an_outage_are_loaded_at_once_and_committed_after_it(tmp_path, path, messages):
    store, module = Store(tmp_path / "prompts.db"), Prompts()
    with store.watch(module, path, poll_s=POLL_S):
        (tmp_path / "prompts.db").rename(tmp_path / "away.db")
        for prompt in ("two", "three"):
            path.write_text(text(prompt))
            eventually(lambda prompt=prompt: module.prompt == prompt)
        eventually(messages)
        (tmp_path / "away.db").rename(tmp_path / "prompts.db")
        eventually(lambda: len(store.log()) == 3)
        eventually(lambda: len(messages()) == 2)
    assert messages()[0].startswith(f"committing file '{path}' failed and will be tried again: VersionStoreError")
    assert messages()[1] == f"committing file '{path}' works again"


def test_an_edit_that_the_store_refuses_is_loaded_and_reported(tmp_path, path, messages):
    """Its digest is taken by a text that reads the same in JSON."""
    store, module = Store(tmp_path / "prompts.db"), Prompts()
    store.commit({"prompt": "\ud83d\ude00", "limit": 1})
    with store.watch(module, path, poll_s=POLL_S):
        path.write_text(text("\U0001f600"))
        eventually(lambda: module.prompt == "\U0001f600")
        eventually(messages)
        assert "an edit was loaded but not committed" in messages()[0]
        path.write_text(text("three"))
        eventually(lambda: store.log(1)[0].tags == () and store.checkout(store.log(1)[0].id)["prompt"] == "three")
    assert len(messages()) == 1


def test_a_file_name_that_is_no_text_can_be_watched(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/pr\xff.toml")
    try:
        with open(path, "w") as file:
            file.write(text("one"))
    except OSError:
        pytest.skip("this file system takes no such names")
    store, module = Store(tmp_path / "prompts.db"), Prompts()
    store.watch(module, path).stop()
    assert store.log()[0].message == "edited pr\\udcff.toml"
