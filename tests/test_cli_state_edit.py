"""`msgflow state edit`: the state goes through an editor, and what was written there is published or kept."""

import io
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import pytest

import msgflow as mf
from msgflow.cli import editing, main
from msgflow.state.digest import digest
from msgflow.versions import Store
from tests.eventually import eventually
from tests.test_cli import refusal

KIND = {"instructions": "Be kind.\nAnswer in one sentence.", "agent.model": "openai/x"}
FORMAL = {**KIND, "instructions": "Be formal.\nAnswer in one sentence."}
TO_FORMAL = 'path.write_text(path.read_text().replace("kind", "formal"))'
BREAK = 'path.write_text("a =")'
UNCHANGED = "nothing was changed\n"


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def drafts(tmp_path, monkeypatch):
    """The folder in which drafts are made; the test itself runs in another one."""
    drafts, work = tmp_path / "drafts", tmp_path / "work"
    drafts.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(tempfile, "tempdir", str(drafts))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return drafts


@pytest.fixture
def editor(tmp_path, monkeypatch):
    """Sets EDITOR to a program that runs these lines; `path` is what it was given. Each run takes the next text."""

    def write(*runs):
        for number, run in enumerate(runs):
            (tmp_path / f"run{number}.py").write_text(run)
        script = tmp_path / "my editor.py"
        script.write_text(
            "import pathlib, sys\npath, here = pathlib.Path(sys.argv[1]), pathlib.Path(__file__).parent\n"
            "run = sorted(here.glob('run*.py'))[0]\ntext = run.read_text()\nrun.unlink()\nexec(text)\n"
        )
        monkeypatch.setenv("EDITOR", f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")

    return write


@pytest.fixture
def store():
    store = Store("prompts.db")
    store.tag("production", store.commit(KIND, "First prompts"))
    return store


def edit(capsys, *arguments):
    """What the command prints where all goes well."""
    assert main(["state", "edit", *arguments]) == 0
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


def kept(line):
    """The draft that a message says is kept."""
    return Path(re.search(r"your draft is kept in (\S+)$", line)[1]).read_text()


# --- stores ----------------------------------------------------------------------------------------------------------


def test_a_version_is_committed_and_released_in_one_step(capsys, store, editor, drafts):
    editor(TO_FORMAL)
    said = edit(capsys, "prompts.db#production", "-m", "Formal", "--tag", "production")
    assert said == f"{digest(FORMAL)}  production\n"
    assert (store.checkout("production"), store.log(1)[0].message) == (FORMAL, "Formal")
    assert not list(drafts.iterdir())


def test_without_a_tag_a_version_is_committed_and_nothing_moves(capsys, store, editor):
    editor(TO_FORMAL)
    assert edit(capsys, "prompts.db") == f"{digest(FORMAL)}\n"
    assert store.tags() == {"production": digest(KIND)} and store.log(1)[0].id == digest(FORMAL)


def test_the_draft_is_toml_that_says_what_it_is_and_is_readable_for_its_owner_alone(capsys, store, editor, tmp_path):
    editor(
        f"(here / 'seen').write_text(path.read_text()); (here / 'mode').write_text(str(path.parent.stat().st_mode));"
        f"{TO_FORMAL}"
    )
    edit(capsys, "prompts.db#production")
    assert (tmp_path / "seen").read_text() == (
        f"# production {digest(KIND)}. Comments in this draft are not kept.\n\n"
        'instructions = """\nBe kind.\nAnswer in one sentence."""\n\n[agent]\nmodel = "openai/x"\n'
    )
    assert stat.S_IMODE(int((tmp_path / "mode").read_text())) == 0o700


@pytest.mark.parametrize("run", ["", "path.write_text('# hm\\n' + path.read_text() + '\\n')"])
def test_an_unchanged_state_is_not_committed(capsys, store, editor, drafts, run):
    editor(run)
    assert edit(capsys, "prompts.db#production", "--tag", "staging") == UNCHANGED
    assert len(store.log()) == 1 and "staging" not in store.tags() and not list(drafts.iterdir())


def test_what_toml_cannot_hold_is_edited_as_json(capsys, store, editor):
    store.commit({"stop": None, "prompt": "kind"})
    editor(f"assert path.suffix == '.json'; {TO_FORMAL}")
    edit(capsys, "prompts.db")
    assert store.checkout(store.log(1)[0].id) == {"stop": None, "prompt": "formal"}


def test_a_tag_that_somebody_else_moved_meanwhile_is_not_moved_over(capsys, store, editor):
    theirs, place = store.commit({"a": "theirs"}), str(Path("prompts.db").absolute())
    editor(f"from msgflow.versions import Store; Store({place!r}).tag('production', {theirs!r}); {TO_FORMAL}")
    line = refusal(capsys, "state", "edit", "prompts.db#production", "--tag", "production")
    assert "the tag 'production' was moved by somebody else" in line and "Be formal." in kept(line)
    assert store.resolve("production") == theirs and len(store.log()) == 2


def test_a_tag_that_cannot_be_is_refused_before_the_editor_opens(capsys, store, editor):
    editor("(here / 'opened').touch()")
    assert "a tag cannot be named" in refusal(capsys, "state", "edit", "prompts.db", "--tag", "two words")
    assert not Path("../opened").exists()


def test_a_version_keeps_its_tensors(capsys, store, editor):
    store.commit({**KIND, "w": numpy.arange(3.0)})
    editor(TO_FORMAL)
    edit(capsys, "prompts.db")
    state = store.checkout(store.log(1)[0].id)
    assert state.pop("w").tolist() == [0, 1, 2] and state == FORMAL


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_toml_file_is_edited_itself_with_its_comments_old_and_new(capsys, editor):
    Path("a.toml").write_text("# by legal\na = 'kind' # here\n")
    Path("a.toml").chmod(0o640)
    editor(f"{TO_FORMAL}; path.write_text(path.read_text() + '# new\\n')")
    assert edit(capsys, "a.toml") == "a.toml: written\n"
    assert Path("a.toml").read_text() == "# by legal\na = 'formal' # here\n# new\n"
    assert stat.S_IMODE(Path("a.toml").stat().st_mode) == 0o640


def test_a_broken_toml_file_can_be_mended(capsys, editor):
    Path("a.toml").write_text("a = kind")
    editor("path.write_text('a = \"mended\"\\n')")
    edit(capsys, "a.toml")
    assert mf.load("a.toml") == {"a": "mended"}


def test_a_linked_file_stays_a_link(capsys, editor):
    mf.save(KIND, "real.toml")
    Path("link.toml").symlink_to("real.toml")
    editor(TO_FORMAL)
    edit(capsys, "link.toml")
    assert Path("link.toml").is_symlink() and mf.load("real.toml") == FORMAL


@pytest.mark.parametrize("place", ["a.json", "a.safetensors", "folder"])
def test_other_files_are_edited_as_toml_and_keep_their_tensors(capsys, editor, place):
    tensors = {} if place == "a.json" else {"w": numpy.arange(3.0)}
    mf.save(KIND | tensors, place)
    editor(f"assert path.name == 'state.toml'; {TO_FORMAL}")
    assert edit(capsys, place) == f"{place}: written\n"
    state = mf.load(place)
    assert {key: state.pop(key).tolist() for key in tensors} == {key: [0.0, 1.0, 2.0] for key in tensors}
    assert state == FORMAL


def test_a_folder_keeps_the_comments_of_its_text(capsys, editor):
    mf.save({**KIND, "w": numpy.zeros(2)}, "folder")
    Path("folder/state.toml").write_text("# by legal\n" + Path("folder/state.toml").read_text())
    editor(TO_FORMAL)
    edit(capsys, "folder")
    assert Path("folder/state.toml").read_text().startswith("# by legal\n")


def written(place):
    """When, and as which file."""
    return Path(place).stat().st_mtime_ns, Path(place).stat().st_ino


@pytest.mark.parametrize("place", ["a.toml", "a.json"])
@pytest.mark.parametrize("run", ["", "path.write_bytes(path.read_bytes())"])
def test_an_unchanged_file_is_not_written(capsys, editor, place, run):
    mf.save(KIND, place)
    before = written(place)
    editor(run)
    assert edit(capsys, place) == UNCHANGED and written(place) == before


def test_a_comment_alone_changes_no_json_file(capsys, editor):
    mf.save(KIND, "a.json")
    before = written("a.json")
    editor("path.write_text('# hm\\n' + path.read_text())")
    assert edit(capsys, "a.json") == UNCHANGED and written("a.json") == before


@pytest.mark.parametrize("place", ["a.toml", "a.json"])
def test_a_file_that_somebody_else_changed_meanwhile_is_not_written_over(capsys, editor, place):
    mf.save(KIND, place)
    editor(f"import msgflow as mf; mf.save({{'a': 'theirs'}}, {str(Path(place).absolute())!r}); {TO_FORMAL}")
    line = refusal(capsys, "state", "edit", place)
    assert "was changed by somebody else" in line and "Be formal." in kept(line) and mf.load(place) == {"a": "theirs"}


@pytest.mark.parametrize("place", ["folder", "prompts.db"])
def test_a_value_cannot_take_the_key_of_a_tensor(capsys, store, editor, place):
    mf.save({"prompt": "Hi", "w": numpy.zeros(2)}, "folder")
    store.commit(mf.load("folder"))
    editor("path.write_text('prompt = \"Hi\"\\nw = 3\\n')")
    line = refusal(capsys, "state", "edit", place)
    assert "'w' is a tensor" in line and "w = 3" in kept(line) and mf.load("folder")["w"].tolist() == [0, 0]
    assert len(store.log()) == 2


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("typo.toml", "there is no state at"),
        ("w.safetensors", "nothing but tensors"),
        ("prompts.db", "nothing but tensors"),
    ],
)
def test_what_cannot_be_edited_is_refused_before_the_editor_opens(capsys, store, editor, place, said):
    mf.save({"w": numpy.zeros(2)}, "w.safetensors")
    store.commit({"w": numpy.zeros(2)})
    editor("(here / 'opened').touch()")
    assert said in refusal(capsys, "state", "edit", place) and not Path("../opened").exists()


# --- drafts that cannot be published ---------------------------------------------------------------------------------


def test_a_draft_that_is_no_state_is_kept_where_nobody_can_be_asked(capsys, store, editor):
    editor(BREAK)
    line = refusal(capsys, "state", "edit", "prompts.db#production")
    assert "not valid TOML" in line and kept(line) == "a =" and len(store.log()) == 1


@pytest.mark.parametrize("answer", ["\n", "y\n"])
def test_somebody_at_a_terminal_may_mend_the_draft(capsys, store, editor, drafts, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    editor(BREAK, "assert path.read_text() == 'a ='; path.write_text('a = 1')")
    assert main(["state", "edit", "prompts.db#production"]) == 0
    printed = capsys.readouterr()
    assert "not valid TOML" in printed.err and "Edit again? [Y/n]" in printed.out
    assert store.checkout(store.log(1)[0].id) == {"a": 1} and not list(drafts.iterdir())


@pytest.mark.parametrize("answer", ["n\n", "No\n", ""])
def test_or_leave_it_and_find_it_again(capsys, store, editor, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    editor(BREAK)
    assert main(["state", "edit", "prompts.db#production"]) == 1
    assert kept(capsys.readouterr().err.strip()) == "a =" and len(store.log()) == 1


def test_ctrl_c_at_the_question_keeps_the_draft(capsys, store, editor, monkeypatch):
    class Interrupted(Terminal):
        def readline(self, *_):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    editor(BREAK)
    assert main(["state", "edit", "prompts.db#production"]) == 130
    assert kept(capsys.readouterr().err.strip()) == "a ="


@pytest.mark.parametrize("run", ["sys.exit(1)", f"{TO_FORMAL}; sys.exit(1)", "path.unlink(); sys.exit(1)"])
def test_an_editor_that_fails_changes_nothing(capsys, store, editor, drafts, run):
    editor(run)
    line = refusal(capsys, "state", "edit", "prompts.db#production")
    assert "ended with status 1, so nothing was changed" in line and len(store.log()) == 1
    if "formal" in run:
        assert "Be formal." in kept(line)
    else:
        assert not list(drafts.iterdir())


def test_a_draft_that_is_gone_changes_nothing(capsys, store, editor):
    editor("path.unlink()")
    assert "left no draft behind" in refusal(capsys, "state", "edit", "prompts.db#production") and len(store.log()) == 1


def test_an_emptied_draft_changes_nothing(capsys, store, editor):
    editor("path.write_text('')")
    assert "the file is empty" in refusal(capsys, "state", "edit", "prompts.db#production") and len(store.log()) == 1


def test_a_store_that_goes_away_meanwhile_leaves_the_draft(capsys, store, editor):
    editor(f"pathlib.Path({str(Path('prompts.db').absolute())!r}).unlink(); {TO_FORMAL}")
    line = refusal(capsys, "state", "edit", "prompts.db#production")
    assert "is gone" in line and "Be formal." in kept(line)


# --- the editor ------------------------------------------------------------------------------------------------------


def test_visual_comes_before_editor_and_empty_ones_do_not_count(capsys, store, editor, monkeypatch):
    editor(TO_FORMAL)
    monkeypatch.setenv("VISUAL", " ")
    assert edit(capsys, "prompts.db").startswith(digest(FORMAL))
    monkeypatch.setenv("VISUAL", "false")
    assert "the editor 'false' ended with status 1" in refusal(capsys, "state", "edit", "prompts.db")


@pytest.mark.parametrize(
    ("command", "said"), [("/no/such/editor -w", "'/no/such/editor' cannot be run: No such file"), ("'vi", "EDITOR is")]
)
def test_an_editor_that_cannot_be_run_is_named(capsys, store, monkeypatch, drafts, command, said):
    monkeypatch.setenv("EDITOR", command)
    assert said in refusal(capsys, "state", "edit", "prompts.db") and not list(drafts.iterdir())


def test_without_a_variable_the_usual_editors_are_looked_for(capsys, store, editor, monkeypatch, tmp_path):
    editor(TO_FORMAL)
    script = tmp_path / "nano"
    script.write_text(f'#!/bin/sh\nexec {os.environ["EDITOR"]} "$1"\n')
    script.chmod(0o755)
    monkeypatch.delenv("EDITOR")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no editor to open" in refusal(capsys, "state", "edit", "prompts.db")  # nobody sits there
    monkeypatch.setattr(sys, "stdin", Terminal())
    assert edit(capsys, "prompts.db").startswith(digest(FORMAL))
    monkeypatch.setattr(editing, "FALLBACKS", ())
    assert "there is no editor to open" in refusal(capsys, "state", "edit", "prompts.db")


def test_ctrl_c_in_the_editor_is_the_editors(store, editor, tmp_path):
    editor(
        "import signal, time; signal.signal(signal.SIGINT, lambda *_: (here / 'heard').touch())\n"
        "(here / 'up').touch()\n"
        "while not (here / 'go').exists(): time.sleep(0.01)\n" + TO_FORMAL
    )
    command = [sys.executable, "-W", "error", "-m", "msgflow.cli", "state", "edit", "prompts.db#production"]
    running = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    eventually((tmp_path / "up").exists)
    os.killpg(running.pid, signal.SIGINT)
    eventually((tmp_path / "heard").exists)
    (tmp_path / "go").touch()
    assert running.communicate(timeout=30) == (f"{digest(FORMAL)}\n".encode(), b"") and running.returncode == 0
