"""`msgflow state`: what it prints of files and stores, and what it changes in stores."""

import contextlib
import io
import json
import os
import subprocess
import sys

import numpy
import pytest

import msgflow as mf
import msgflow.tensor as mt
from msgflow.cli import main
from msgflow.state.digest import digest
from msgflow.versions import Store
from tests.in_python import run_script
from tests.postgres import require_postgres
from tests.test_cli import refusal

KIND = {"instructions": "Be kind.\nAnswer in one sentence.", "agent.model": "openai/x", "agent.settings": {"top_p": 1}}
FORMAL = {**KIND, "instructions": "Be formal.\nAnswer in one sentence."}
HOSTILE = "\x1b]0;owned\x07 \x9b31m \u202eback \r\x00"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store():
    """prompts.db: two versions, the second in production."""
    with_history(store := Store("prompts.db"))
    return store


def with_history(store):
    store.tag("production", store.commit(KIND, "First prompts", author="ada"), author="ada")
    store.tag("production", store.commit(FORMAL, "Formal\n\nas legal asked", author="bob"), author="bob")


def out(capsys, *arguments, status=0):
    """What `msgflow state` prints."""
    assert main(["state", *arguments]) == status
    printed = capsys.readouterr()
    assert not printed.err
    return printed.out


def no(capsys, *arguments):
    return refusal(capsys, "state", *arguments)


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_prints_texts_as_they_are_and_all_else_as_json(capsys):
    mf.save({**KIND, "empty": "", "n": 5, "five": "5", "long": list(range(60))}, "a.toml")
    long = ",\n".join(f"  {number}" for number in range(60))
    assert out(capsys, "show", "a.toml") == (
        "instructions:\n    Be kind.\n    Answer in one sentence.\n"
        'empty = ""\nn = 5\nfive:\n    5\n'
        f"long = [\n{long}\n]\n"
        'agent.model:\n    openai/x\nagent.settings = {"top_p": 1}\n'
    )


@pytest.mark.parametrize("place", ["a.json", "a.safetensors", "folder"])
def test_show_reads_every_kind_of_file(capsys, place):
    mf.save(KIND, place)
    assert out(capsys, "show", place, "agent.model") == "agent.model:\n    openai/x\n"


@pytest.mark.parametrize("place", ["a.safetensors", "folder"])
def test_tensors_are_shown_by_type_shape_and_range(capsys, place):
    mf.save({"prompt": "Hi", "embed.weight": numpy.zeros((3, 2), "float32"), "b": mt.zeros(2, "bf16")}, place)
    shown = out(capsys, "show", place)
    assert "embed.weight = tensor float32 (3, 2), 0 to 0, mean 0\n" in shown and "b = tensor bfloat16 (2,), 0" in shown
    shown = json.loads(out(capsys, "show", place, "embed", "--json"))
    assert {**shown["embed.weight"], "sha256": ""} == {"dtype": "float32", "shape": [3, 2], "sha256": ""}


def test_show_takes_keys_and_beginnings_of_keys(capsys, store):
    shown = out(capsys, "show", "prompts.db", "agent", "--json")
    assert list(json.loads(shown)) == ["agent.model", "agent.settings"]
    assert list(json.loads(out(capsys, "show", "prompts.db", "instructions", "agent.model", "--json"))) == [
        "instructions",
        "agent.model",
    ]


def test_show_as_json_gives_the_exact_values(capsys):
    state = {"prompt": HOSTILE.replace("\x00", ""), "n": 1.0, "none": None, "nested": {"a": [True, "\ud800"]}}
    mf.save(state, "a.json")
    shown = out(capsys, "show", "a.json", "--json")
    assert json.loads(shown) == state and shown.replace("\n", "").isprintable()


def test_a_key_that_is_not_there_is_refused_with_those_near(capsys, store):
    assert no(capsys, "show", "prompts.db", "instruction").endswith("has no key 'instruction'; it has instructions")
    assert "it has instructions, agent.model" in no(capsys, "show", "prompts.db", "zzz")
    mf.save({}, "empty.toml")
    assert "it has no keys at all" in no(capsys, "show", "empty.toml", "zzz")


@pytest.mark.parametrize("ref", ["", "#production", f"#{digest(FORMAL)}", f"#{digest(FORMAL)[:4]}"])
def test_a_version_is_named_by_a_tag_or_an_id_and_is_else_the_newest(capsys, store, ref):
    assert "Be formal." in out(capsys, "show", f"prompts.db{ref}")


def test_names_of_files_may_hold_the_sign_before_a_version(capsys, folder):
    with_history(Store("c#.db"))
    Store("c#.db").tag("re#1", digest(KIND))
    assert "Be formal." in out(capsys, "show", "c#.db") and "Be kind." in out(capsys, "show", "c#.db#re#1")
    (folder / "a#b").mkdir()
    mf.save({"x": "1"}, "a#b/c#d.toml")
    assert "x:" in out(capsys, "show", "a#b/c#d.toml")


def test_a_version_in_a_database_server_is_behind_the_url(capsys):
    url = require_postgres().new_schema()
    with_history(store := Store(url))
    store.close()
    assert "Be kind." in out(capsys, "show", f"{url}#{digest(KIND)}")
    assert out(capsys, "rollback", url, "production") == f"{digest(KIND)}  production\n"
    assert "Be kind." in out(capsys, "show", f"{url}#production")


@pytest.mark.parametrize("place", ["sqlite:///prompts.db", "sqlite:///prompts.db#production"])
def test_a_url_of_a_file_is_a_store(capsys, store, place):
    assert "Be formal." in out(capsys, "show", place)


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_shows_texts_line_by_line_and_ends_with_status_3(capsys, store):
    mf.save({**KIND, "tone": "warm"}, "a.toml")
    assert out(capsys, "diff", "a.toml", "prompts.db#production", status=3) == (
        f"--- tone\ta.toml\n+++ /dev/null\n@@ -1 +0,0 @@\n-warm\n"
        f"--- instructions\ta.toml\n+++ instructions\t{digest(FORMAL)}\n"
        "@@ -1,2 +1,2 @@\n-Be kind.\n+Be formal.\n Answer in one sentence.\n"
    )


def test_equal_states_have_no_diff_wherever_they_are(capsys, store):
    mf.save(FORMAL, "a.toml")
    assert out(capsys, "diff", "a.toml", "prompts.db") == ""
    assert out(capsys, "diff", f"prompts.db#{digest(KIND)}", "prompts.db#production", status=3)


def test_tensors_differ_by_their_numbers(capsys):
    for number, path in enumerate(("a.safetensors", "b.safetensors", "folder")):
        mf.save({"w": numpy.full((2,), min(number, 1), "float32")}, path)
    assert out(capsys, "diff", "b.safetensors", "folder") == ""
    different = out(capsys, "diff", "a.safetensors", "b.safetensors", status=3)
    assert "+tensor float32 (2,), 1 to 1, mean 1; 2 of 2 numbers changed, by at most 1\n" in different


def test_tensors_are_committed_and_shown_in_their_versions(capsys):
    mf.save({"prompt": "Hi", "w": numpy.arange(2.0)}, "folder")
    out(capsys, "commit", "prompts.db", "folder", "-m", "trained")
    assert "w = tensor float64 (2,), 0 to 1, mean 0.5\n" in out(capsys, "show", "prompts.db")
    assert out(capsys, "diff", "prompts.db", "folder") == ""


# --- log, tag, rollback ----------------------------------------------------------------------------------------------


def test_log_lists_versions_newest_first_in_utc(capsys, store):
    newest, oldest = store.log()
    assert out(capsys, "log", "prompts.db") == (
        f"{newest.id}  {newest.time:%Y-%m-%d %H:%M:%S} UTC  bob  [production]\n    Formal\n\n    as legal asked\n"
        f"{oldest.id}  {oldest.time:%Y-%m-%d %H:%M:%S} UTC  ada\n    First prompts\n"
    )
    assert out(capsys, "log", "prompts.db", "--limit", "1").count("UTC") == 1
    assert out(capsys, "log", "prompts.db", "--limit", "0") == ""


def test_a_version_without_a_message_is_one_line(capsys, store):
    store.commit({"a": 1}, author="eve")
    assert out(capsys, "log", "prompts.db", "--limit", "1").endswith("UTC  eve\n")


def test_the_log_of_a_tag_shows_who_moved_it_and_where_it_is_now(capsys, store):
    store.rollback("production", author="eve")
    newest, oldest = out(capsys, "log", "prompts.db", "--tag", "production").splitlines()
    assert newest.startswith(digest(FORMAL)) and "bob  (rolled back 2" in newest and newest.endswith("UTC by eve)")
    assert oldest.startswith(digest(KIND)) and oldest.endswith("UTC  ada  [now]")
    assert out(capsys, "log", "prompts.db", "--tag", "production", "--limit", "1") == f"{newest}\n"


def test_tag_moves_and_lists(capsys, store):
    assert out(capsys, "tag", "prompts.db", "staging", digest(KIND)[:5]) == f"{digest(KIND)}  staging\n"
    assert out(capsys, "tag", "prompts.db") == f"{digest(FORMAL)}  production\n{digest(KIND)}  staging\n"
    assert out(capsys, "tag", "prompts.db", "production", "staging") == f"{digest(KIND)}  production\n"
    assert store.tags() == {"production": digest(KIND), "staging": digest(KIND)}


def test_rollback_goes_back_and_stops_at_the_first(capsys, store):
    assert out(capsys, "rollback", "prompts.db", "production") == f"{digest(KIND)}  production\n"
    assert "at nothing before it" in no(capsys, "rollback", "prompts.db", "production")
    assert store.tags() == {"production": digest(KIND)}


# --- commit ----------------------------------------------------------------------------------------------------------


def test_commit_makes_the_store_and_moves_the_tag(capsys):
    mf.save(KIND, "a.toml")
    assert out(capsys, "commit", "new.db", "a.toml", "-m", "First") == f"{digest(KIND)}\n"
    assert out(capsys, "commit", "new.db", "a.toml", "-m", "Same", "--tag", "production").endswith("  production\n")
    store = Store("new.db")
    assert [version.message for version in store.log()] == ["First"] and store.checkout("production") == KIND


def test_commit_takes_a_version_of_another_store(capsys, store):
    out(capsys, "commit", "other.db", "prompts.db#production", "-m", "From staging")
    assert Store("other.db").checkout(digest(FORMAL)) == FORMAL


def test_a_tag_that_cannot_be_is_refused_before_anything_is_committed(capsys, store):
    mf.save({"a": "new"}, "a.toml")
    assert "a tag cannot be named" in no(capsys, "commit", "prompts.db", "a.toml", "-m", "x", "--tag", "two words")
    assert len(store.log()) == 2


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "typo.db"], "there is nothing at 'typo.db'"),
        (["show", "sqlite:///typo.db#production"], "there is nothing at 'sqlite:///typo.db'"),
        (["show", "typo.toml"], "there is no state at"),
        (["show", "prompts.db#prodution"], "no version or tag 'prodution'; near it: production"),
        (["show", "a.toml#production"], "'a.toml' is a state file, which has no versions such as 'production'"),
        (["show", "bad.toml"], "bad.toml: not valid TOML: "),
        (["show", "notes.txt"], "notes.txt is a file, but no SQLite database"),
        (["show", "mysql://u:pw@host/db"], "this URL names no database"),
        (["log", "a.toml"], "'a.toml' is a state file, and this takes a store"),
        (["log", "prompts.db#production"], "write it without '#production'"),
        (["log", "prompts.db", "--tag", "nope"], "no version or tag 'nope'"),
        (["tag", "prompts.db", "x", "nope"], "no version or tag 'nope'"),
        (["tag", "typo.db"], "there is nothing at 'typo.db'"),
        (["commit", "a.toml", "prompts.db", "-m", "swapped"], "'a.toml' is a state file, and this takes a store"),
        (["commit", "prompts.db", "typo.toml", "-m", "x"], "there is no state at"),
    ],
)
def test_what_cannot_be_is_one_line_on_stderr_and_changes_nothing(capsys, store, folder, arguments, said):
    mf.save({"a": "x"}, "a.toml")
    (folder / "bad.toml").write_text("a = \x1b[31m")
    (folder / "notes.txt").write_text("These are notes, and long enough. " * 200)
    before, files = (store.log(), store.tag_log("production")), {path.name for path in folder.iterdir()}
    line = no(capsys, *arguments)
    assert said in line and line.isprintable() and "pw" not in line
    assert (store.log(), store.tag_log("production")) == before and {path.name for path in folder.iterdir()} == files


def test_a_store_without_versions_says_so(capsys):
    Store("new.db").tags()
    assert "holds no version yet" in no(capsys, "show", "new.db")
    assert out(capsys, "log", "new.db") == out(capsys, "tag", "new.db") == ""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_one_line_on_stderr(capsys, folder):
    mf.save({"a": "x"}, "a.toml")
    (folder / "a.toml").chmod(0)
    assert "Permission denied" in no(capsys, "show", "a.toml")


def test_a_link_that_leads_to_itself_is_one_line_on_stderr(capsys, folder):
    (folder / "a.toml").symlink_to("a.toml")
    assert "a.toml" in no(capsys, "show", "a.toml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["state"], "required: ACTION"),
        (["state", "show"], "required: PLACE"),
        (["state", "commit", "prompts.db", "a.toml"], "required: -m/--message"),
        (["state", "tag", "prompts.db", "production"], "give REF as well"),
        (["state", "log", "prompts.db", "--limit", "-1"], "'-1' is no number of entries"),
        (["state", "edit", "a.toml", "--tag", "production"], "--message and --tag are for a store"),
    ],
)
def test_misuse_is_explained_with_the_usage(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2 and said in printed.err and "usage: msgflow state" in printed.err


@pytest.mark.parametrize("action", ["show", "diff", "log", "tag", "rollback", "commit", "edit"])
def test_every_action_has_help_that_says_what_a_place_is(capsys, action):
    with pytest.raises(SystemExit) as ended:
        main(["state", action, "--help"])
    assert ended.value.code == 0 and "prompts.db#production" in capsys.readouterr().out


# --- the terminal and the shell --------------------------------------------------------------------------------------


def test_nothing_that_a_terminal_obeys_is_printed(capsys):
    store = Store("prompts.db")
    old = {f"key {HOSTILE}": HOSTILE, "nested": [HOSTILE], "lone": "\ud800"}
    store.tag("t", store.commit(old, HOSTILE.replace("\x00", ""), author="\x1b[2J"), author="\x1b[2J")
    store.commit({f"key {HOSTILE}": f"{HOSTILE}\n!", "lone": "\udfff"}, "new")
    for arguments, status in [
        (("show", "prompts.db#t"), 0),
        (("diff", "prompts.db#t", "prompts.db"), 3),
        (("log", "prompts.db"), 0),
        (("log", "prompts.db", "--tag", "t"), 0),
    ]:
        assert out(capsys, *arguments, status=status).replace("\n", "").replace("\t", "").isprintable()


def msgflow(*arguments, **options):
    command = [sys.executable, "-W", "error", "-m", "msgflow.cli", "state", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_terminal_that_lacks_letters_gets_escapes(folder):
    mf.save({"prompt": "→ Grüße"}, "a.toml")
    printed, errors = msgflow("show", "a.toml", env={**os.environ, "PYTHONIOENCODING": "ascii"}).communicate(timeout=30)
    assert (printed.splitlines()[1].strip(), errors) == (rb"\u2192 Gr\xfc\xdfe", b"")


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(folder):
    mf.save({"prompt": "line\n" * 200_000}, "a.toml")
    running = msgflow("show", "a.toml")
    running.stdout.readline()
    running.stdout.close()
    assert (running.stderr.read(), running.wait(30)) == (b"", 141)
    running.stderr.close()


def test_a_reader_that_has_gone_before_the_command_prints_is_no_error(capsys, store, monkeypatch):
    ends = os.pipe()
    os.close(ends[0])
    with os.fdopen(ends[1], "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["state", "tag", "prompts.db"]) == 141
    assert not capsys.readouterr().err


def test_what_is_printed_can_be_collected_as_text(store):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["state", "tag", "prompts.db"]) == 0
    assert printed.getvalue() == f"{digest(FORMAL)}  production\n"


def test_other_commands_do_not_load_the_database():
    loaded = run_script("""
        import sys
        from msgflow.cli import main
        try:
            main(["--version"])
        except SystemExit:
            pass
        print([name for name in ("sqlalchemy", "safetensors", "numpy") if name in sys.modules])
        """)
    assert loaded == f"msgflow {mf.__version__}\n[]"
