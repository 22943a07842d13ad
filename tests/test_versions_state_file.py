"""What is in a file that is being edited, look by look, at times that the test chooses; and pauses that grow."""

import pytest

from msgflow.errors import StateFileMissing
from msgflow.versions import state_file
from msgflow.versions.applying import Outage
from msgflow.versions.state_file import StateFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "prompts.toml"
    path.write_text("n = 1\n")
    return path


def test_a_new_content_is_given_when_two_looks_have_found_it_and_until_it_is_taken(path):
    file = StateFile(path)
    assert file.look(0.0) is None
    path.write_text("n = 2\n")
    assert file.look(1.0) is None
    for now in (1.5, 2.0):
        content = file.look(now)
        assert (content.state(), content.age_s) == ({"n": 2}, now - 1.0)
    file.taken = content.hash
    assert file.look(2.5) is None


def test_a_file_that_grows_with_every_look_is_not_given(path):
    file = StateFile(path)
    with path.open("a") as growing:
        for number in range(5):
            growing.write(f"m{number} = {number}\n")
            growing.flush()
            assert file.look(number) is None
    assert len(file.look(5.0).state()) == 6


def test_a_file_that_changes_while_it_is_read_is_not_given(path, monkeypatch):
    def load_and_change(path):
        path.write_text("n = 3\n")
        return {"n": 2}

    file = StateFile(path)
    path.write_text("n = 2\n")
    assert file.look(0.0) is None
    with monkeypatch.context() as patched:
        patched.setattr(state_file, "load", load_and_change)
        assert file.look(1.0) is None
    assert file.look(2.0) is None
    assert file.look(3.0).state() == {"n": 3}


def test_going_back_to_what_was_taken_is_nothing_new(path):
    file = StateFile(path)
    path.write_text("n = ")
    assert file.look(0.0) is None and isinstance(file.look(1.0).found, Exception)
    path.write_text("n = 1\n")
    assert [file.look(now) for now in (2.0, 3.0)] == [None, None]


def test_no_file_is_a_content_as_well(path):
    file = StateFile(path)
    path.unlink()
    assert file.look(0.0) is None
    content = file.look(0.5)
    assert content.hash == "" and content.age_s == 0.5
    with pytest.raises(StateFileMissing):
        content.state()


def test_a_file_that_has_rested_is_not_read_again(path, monkeypatch):
    file = StateFile(path)
    monkeypatch.setattr(state_file, "COARSE_NS", 0)
    monkeypatch.setattr(StateFile, "_hash_now", lambda self: pytest.fail("was read"))
    assert file.look(0.0) is None


def test_a_folder_is_what_is_in_its_files(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "below").mkdir()
    (folder / "state.toml").write_text("n = 1\n")
    file = StateFile(folder)
    (folder / "state.toml").write_text("n = 2\n")
    assert file.look(0.0) is None and file.look(1.0).state() == {"n": 2}


@pytest.mark.parametrize(
    ("poll_s", "pauses"), [(0.25, [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]), (2.0, [4.0, 5.0]), (30.0, [30.0, 30.0])]
)
def test_pauses_grow_during_an_outage_and_are_short_again_after_it(poll_s, pauses, caplog):
    outage = Outage("looking", poll_s)
    seen = []
    for _ in pauses:
        outage.failed(OSError("gone"))
        seen.append(outage.pause_s)
    assert seen == pauses and len(caplog.records) == 1
    outage.over()
    assert (outage.pause_s, outage.is_on) == (poll_s, False)
