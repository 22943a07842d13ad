import os
import sys
from pathlib import Path

import pytest

from tests import fences
from tests.fences import FenceFailure, embedded_model_missing, is_known, matches, run_page, skip_reason


def fence(info: str, *lines: str) -> str:
    return "\n".join([f"```{info}", *lines, "```", ""])


@pytest.fixture
def run(tmp_path):
    """Runs a page put together from pieces."""
    return lambda *pieces: run_page("\n".join(pieces), "docs/page.md", tmp_path)


@pytest.fixture
def failure(run):
    """The message with which a page fails."""

    def message(*pieces: str) -> str:
        with pytest.raises(FenceFailure) as caught:
            run(*pieces)
        return str(caught.value)

    return message


def test_what_is_printed_is_compared_with_the_text_fence_below(run):
    run("# Title", fence("python", "print('a')", "print('b')"), "", fence("text", "a", "b"))


def test_a_page_is_a_session_in_a_folder_of_its_own(run, tmp_path):
    here = Path.cwd()
    run(
        fence("python", "from pathlib import Path; Path('a.txt').write_text('hi')", "x = 1"),
        "More.",
        fence("python", "print(Path('a.txt').read_text(), x)"),
        fence("text", "hi 1"),
    )
    assert (tmp_path / "a.txt").read_text() == "hi"
    assert Path.cwd() == here


def test_pages_do_not_share_names(run, failure):
    run(fence("python", "x = 1"))
    assert "name 'x' is not defined" in failure(fence("python", "x"))


def test_what_a_page_imports_stays_imported(run):
    sys.modules.pop("this_is_new", None)
    run(fence("python", "import sys, types", "sys.modules['this_is_new'] = types.ModuleType('this_is_new')"))
    assert sys.modules.pop("this_is_new")


def test_the_environment_is_without_keys_and_settings_and_is_put_back(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("MSGFLOW_CACHE", "cache")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    run(
        fence(
            "python",
            "import os",
            "print([os.environ.get(n) for n in ('OPENAI_API_KEY', 'OTEL_SERVICE_NAME', 'MSGFLOW_CACHE')])",
            "os.environ['NEW'] = '1'",
        ),
        fence("text", "[None, None, 'cache']"),
    )
    assert os.environ["OPENAI_API_KEY"] == "secret" and "NEW" not in os.environ


def test_await_works_at_the_top_level(run):
    run(
        fence(
            "python", "import asyncio", "async def f():", "    return 3", "await asyncio.sleep(0)", "print(await f())"
        ),
        fence("text", "3"),
    )


def test_annotations_and_source_are_found_as_in_a_module(run):
    run(
        fence("python", "from __future__ import annotations", "import inspect, typing", "class A: ..."),
        fence("python", "def f(a: 'A'): ...", "print(typing.get_type_hints(f)['a'].__name__, inspect.getsource(f))"),
        fence("text", "A def f(a: 'A'): ..."),
    )


def test_fences_in_lists_run_too(run):
    run("1. Do this:\n\n   ```python\n   if True:\n       print(1)\n   ```\n\n   ```text\n   1\n   ```\n")


@pytest.mark.parametrize(
    "shown", ["second line", "first line\nsecond line", "KeyError: first ...\nsecond line", "... line"]
)
def test_an_error_that_is_announced_is_compared_with_the_end_of_its_message(run, shown):
    code = "class KeyError(Exception): ..."
    run(
        fence("python", code),
        fence("python raises=KeyError", r"raise KeyError('first line\nsecond line')"),
        fence("text", shown),
    )


def test_notes_of_an_error_are_part_of_its_message(run):
    code = ("error = ValueError('bad')", "error.add_note('at step 2')", "raise error")
    run(fence("python raises=ValueError", *code), fence("text", "ValueError: bad", "at step 2"))


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([fence("python", "print(1)"), fence("text", "2")], ":5: the output is another\nexpected:\n2\ngot:\n1"),
        ([fence("python", "x = 1"), fence("text", "1")], ":5: the output is another\nexpected:\n1\ngot:\n(nothing)"),
        ([fence("python", ""), fence("text", "")], "expected:\n(nothing)\ngot:\n(nothing)"),
        ([fence("python", "print(1)")], ":1: prints, and no text fence right below it shows what\ngot:\n1"),
        ([fence("python", "print(1)"), "So:", fence("text", "1")], ":6: a text fence shows what is printed"),
        ([fence("text", "1")], ":1: a text fence shows what is printed"),
        ([fence("toml", ""), fence("text", "1")], ":5: a text fence shows what is printed"),
        (["Text.", "", fence("python", "1 / 0")], ":3: raises ZeroDivisionError\ngot:\ndivision by zero"),
        ([fence("python", "raise SystemExit(3)")], ":1: raises SystemExit\ngot:\n3"),
        ([fence("python", "x =")], ":1: raises SyntaxError"),
        ([fence("python raises=KeyError", "[][0]"), fence("text", "a")], "raises IndexError\nexpected:\nKeyError"),
        ([fence("python raises=KeyError", "1"), fence("text", "a")], "raises nothing\nexpected:\nKeyError"),
        ([fence("python raises=KeyError", "{}['a']")], "no text fence right below it shows the message\ngot:\n'a'"),
        ([fence("python raises=KeyError", "{}['a']"), fence("text", "b")], ":5: the message is another"),
        ([fence("python skip", "1")], ":1: a python fence may say raises=ErrorName or of=ALibrary; got {'skip': ''}"),
        ([fence("python of=ARK", "rt = = 1")], ":1: is no Python: invalid syntax"),
        ([fence("toml", "a =")], ":1: is no toml: "),
        ([fence("json", "{,}")], ":1: is no json: "),
        ([fence("", "a")], ":1: a fence is python, text, console, toml, json, mermaid\ngot:\n(nothing)"),
        ([fence("bash", "ls")], "got:\nbash"),
        (["Text.", "", "    print(1)"], ":3: code that is indented is not run"),
        (["<details>", fence("python", "1"), "</details>"], ":1: a fence inside of HTML is not run"),
        ([fence("console", "ls")], ":1: a console fence begins with '$ ' and a command"),
        ([fence("console", "output", "$ ls")], ":1: a console fence begins with '$ ' and a command"),
        (
            [fence("console", "$ rm -rf x")],
            ":1: is no command that this suite can run or knows to leave to CI\ngot:\nrm",
        ),
        ([fence("console", "$ python 'a")], ":1: is no console: No closing quotation"),
        ([fence("console", "$ ")], ":1: a console fence begins with '$ ' and a command"),
        ([fence("console", "$ python -c 'print(1)'", "2")], "prints something else\nexpected:\n2\ngot:\n1"),
        ([fence("console", "$ python -c 'print(1)'")], "prints something else\nexpected:\n(nothing)\ngot:\n1"),
        ([fence("console", "$ python -c 'print(1); exit(3)'", "1")], "ended with status 3, not 0\ngot:\n1"),
        ([fence("console exit=1", "$ python -c 1")], "ended with status 0, not 1"),
        ([fence("console limit=1", "$ python -c 1")], "may say exit=1"),
    ],
)
def test_a_page_that_is_not_true_fails_with_file_line_and_both_sides(failure, pieces, message):
    found = failure(*pieces)
    assert found.startswith("docs/page.md:") and message in found


def test_a_failure_is_caused_by_the_error_and_shows_the_line_of_the_page(run):
    with pytest.raises(FenceFailure) as caught:
        run("Text.", "", fence("python", "x = 0", "1 / x"))
    assert caught.traceback and caught.value.__cause__.__traceback__.tb_next.tb_lineno == 5


def test_commands_run_in_the_folder_of_the_page(run):
    run(
        fence(
            "python", "import pathlib", "pathlib.Path('a.py').write_text('import sys, msgflow; print(sys.argv[1:])')"
        ),
        fence("console", "$ python a.py --name \\", "  'two words'", "['--name', ...]", "$ python a.py", "[]"),
        fence("console exit=3", "$ python -c 'print(1); exit(3)'", "1"),
    )


def test_the_command_msgflow_is_that_of_this_interpreter(monkeypatch, run):
    monkeypatch.setattr(sys, "executable", "echo")
    run(fence("console", "$ msgflow version --long", "-m msgflow.cli version --long"))


def test_a_command_that_does_not_end_is_given_up(monkeypatch, failure):
    monkeypatch.setattr(fences, "COMMAND_TIMEOUT_S", 0.2)
    assert "was still running after 0.2 s" in failure(fence("console", "$ python -c 'while True: pass'"))


def test_known_commands_and_pictures_are_left_alone(run):
    run(
        fence("console", "$ git clone URL", "Cloning...", "$ cd msgflow", "$ pip install msgflow"),
        fence("mermaid", "x"),
    )
    run(fence("toml", "a = 1"), fence("json", "[1]"), "<!-- a comment -->")


def test_a_make_command_must_be_one_of_the_makefile_or_of_ci(tmp_path):
    assert not is_known("make demo", tmp_path)
    (tmp_path / "Makefile").write_text("all: demo\ndemo: .venv\n\tpython demo.py\n")
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text("#!/bin/sh\nset -e\n  make check\n# make docs\n")
    known = [name for name in ("demo", "test", "check", "bench", "docs", "all") if is_known(f"make {name}", tmp_path)]
    assert known == ["demo", "check"]


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        ("a", "a\n", True),
        ("a  \nb", "a\nb   \n", True),
        ("took ... s", "took 0.12 s", True),
        ("first\n...\nlast", "first\n1\n2\nlast", True),
        ("...", "anything\nat all", True),
        ("a", "b", False),
        ("a", "a\nb", False),
        (" a", "a", False),
        ("a.c", "abc", False),
        ("a...c", "abcd", False),
        ("..." * 5 + "x", "a" * 5000, False),
    ],
)
def test_an_ellipsis_stands_for_any_run_of_characters(expected, got, same):
    assert matches(expected, got) is same


def test_a_page_that_needs_the_embedded_model_says_why_it_is_skipped(monkeypatch):
    monkeypatch.setattr(fences, "embedded_model_missing", lambda: "no model")
    assert skip_reason("<!-- needs: embedded -->\n# Title", "a.md") == "no model"
    assert skip_reason("# Title", "a.md") is None
    with pytest.raises(FenceFailure, match=r"a\.md:1: a page may need one of 'embedded', 'torch'; got 'gpu'"):
        skip_reason("<!-- needs: gpu -->", "a.md")


def test_a_page_that_needs_pytorch_says_why_it_is_skipped(monkeypatch):
    monkeypatch.setattr(fences, "find_spec", lambda name: None)
    assert skip_reason("<!-- needs: torch -->", "a.md") == "PyTorch is not installed: pip install 'msgflow[oracle]'"
    monkeypatch.setattr(fences, "find_spec", lambda name: object())
    assert skip_reason("<!-- needs: torch -->", "a.md") is None


def test_a_program_of_another_library_is_not_run(run):
    run(fence("python of=ARK", "import ark", "print(ark.version())"))


def test_the_embedded_model_is_missing_without_its_library_or_its_weights(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    assert embedded_model_missing().startswith("xllamacpp is not installed")
    monkeypatch.setitem(sys.modules, "xllamacpp", object())
    monkeypatch.setattr("msgflow.models.weights.find", lambda name: None)
    assert embedded_model_missing() == "the weights of the embedded model are not in the cache"
    monkeypatch.setattr("msgflow.models.weights.find", lambda name: tmp_path)
    assert embedded_model_missing() is None
