"""`msgflow draw`: what it writes, and what it says where it cannot."""

import shutil
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

import pytest

from msgflow.cli import main
from tests.in_python import run_script

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the program dot of Graphviz is not installed")

APP = """
import msgflow.nn as nn
from msgflow import flow


def clean(text):
    return text


def is_long(text):
    return len(text) > 10


class Report(nn.Module):
    def __init__(self):
        super().__init__()
        self.flow = flow.Pipeline(clean)


report = Report()
workflow = flow.Pipeline(clean, flow.IfElse(is_long, clean))
number = 5


def make():
    print("making")
    return workflow


async def make_later():
    return workflow


def make_from(text):
    return workflow


def broken():
    raise ValueError("no flow today")


def leave():
    raise SystemExit("bye")
"""
WORKFLOW = """\
flowchart TD
    n0(["input"])
    n1["clean"]
    n2{"is#95;long"}
    n3["clean"]
    n2 -->|"yes"| n3
    n1 --> n2
    n0 --> n1
    n4(["output"])
    n3 --> n4
    n2 -->|"no"| n4
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current directory with drawn_app.py, which Python has not imported before."""
    (tmp_path / "drawn_app.py").write_text(textwrap.dedent(APP))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("drawn"):
            del sys.modules[name]


@pytest.fixture
def refusal(folder, capsys):
    """What a command that fails writes to stderr, and nothing to stdout."""

    def run(*arguments):
        assert main(["draw", *arguments]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("msgflow: ")
        return printed.err.removeprefix("msgflow: ").removesuffix("\n")

    return run


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["workflow", "make", "make_later"])
def test_without_a_file_mermaid_text_is_printed(folder, capsys, target):
    assert main(["draw", f"drawn_app:{target}"]) == 0
    assert capsys.readouterr() == (WORKFLOW, "making\n" if target == "make" else "")


def test_a_class_that_needs_no_arguments_is_made(folder, capsys):
    assert main(["draw", "drawn_app:Report"]) == 0
    assert 'subgraph b0["Report"]' in capsys.readouterr().out


def test_a_part_of_a_module_is_drawn(folder, capsys):
    assert main(["draw", "drawn_app:report.flow"]) == 0
    assert "Report" not in capsys.readouterr().out


@needs_dot
def test_an_svg_shows_the_flow(folder, capsys):
    assert main(["draw", "drawn_app:workflow", "-o", "flow.svg"]) == 0
    assert capsys.readouterr() == ("", "")
    texts = [text.text for text in ElementTree.parse("flow.svg").iter() if text.tag.endswith("}text")]
    assert sorted(map(str.strip, texts)) == ["clean", "clean", "input", "is_long", "no", "output", "yes"]


@needs_dot
@pytest.mark.parametrize(("name", "start"), [("flow.png", b"\x89PNG\r\n"), ("flow.PDF", b"%PDF-")])
def test_other_pictures_are_of_their_kind(folder, name, start):
    assert main(["draw", "drawn_app:workflow", "--output", name]) == 0
    assert (folder / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.mmd", "flowchart TD"),
        ("a.mermaid", "flowchart TD"),
        ("a.dot", "digraph msgflow {"),
        ("a.GV", "digraph msgflow {"),
    ],
)
def test_texts_need_no_other_program(folder, monkeypatch, name, start):
    monkeypatch.setenv("PATH", str(folder))
    assert main(["draw", "drawn_app:workflow", "-o", name]) == 0
    assert (folder / name).read_text(encoding="utf-8").startswith(start)


def test_in_a_process_of_its_own_the_current_directory_can_be_imported_from(folder):
    command = [sys.executable, "-P", "-m", "msgflow.cli", "draw", "drawn_app:workflow"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, WORKFLOW, "")


def test_help_says_what_can_be_written(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["draw", "--help"])
    assert ended.value.code == 0 and ".svg .png .pdf" in capsys.readouterr().out


# --- dot -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dot(folder, monkeypatch):
    """A program `dot` of a few lines of shell, and no other."""

    def write(script):
        (folder / "dot").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "dot").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return write


def test_without_dot_it_says_how_to_get_it_and_prints_the_mermaid_text(folder, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    (folder / "flow.svg").write_text("the old one")
    assert main(["draw", "drawn_app:workflow", "-o", "flow.svg"]) == 1
    printed = capsys.readouterr()
    assert printed.out == WORKFLOW
    assert printed.err.startswith("flow.svg was not written: it needs the program `dot` of Graphviz")
    assert "apt-get install graphviz" in printed.err
    assert (folder / "flow.svg").read_text() == "the old one"


def test_what_dot_says_is_shown_where_it_fails(folder, dot, refusal):
    dot("echo 'Format: \"svg\" not recognized' >&2; exit 1")
    assert refusal("drawn_app:workflow", "-o", "flow.svg") == 'dot ended with status 1: Format: "svg" not recognized'
    assert not (folder / "flow.svg").exists()
    dot("kill -9 $$")
    assert refusal("drawn_app:workflow", "-o", "flow.svg") == "dot ended with status -9: it said nothing about it"


def test_a_dot_that_does_not_end_is_stopped(dot, refusal, monkeypatch):
    monkeypatch.setattr("msgflow.cli.draw.LAYOUT_TIMEOUT_S", 0.2)
    dot("exec sleep 60")
    assert refusal("drawn_app:workflow", "-o", "flow.svg").startswith("dot was not done within 0.2 s; draw a part")


def test_a_warning_of_dot_is_no_failure(folder, dot):
    dot("echo warning >&2; cat")
    assert main(["draw", "drawn_app:workflow", "-o", "flow.svg"]) == 0
    assert (folder / "flow.svg").read_text().startswith("digraph msgflow {")


# --- what cannot be drawn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("drawn_app", "'drawn_app' is not written as module:object, as in 'drawn_app:workflow'"),
        ("drawn_app:", "'drawn_app:' is not written as module:object, as in 'drawn_app:workflow'"),
        (":workflow", "':workflow' is not written as module:object, as in 'app:workflow'"),
        (
            "drawn_app.py:workflow",
            "'drawn_app.py:workflow' is not written as module:object, as in 'drawn_app:workflow'",
        ),
        ("flows/drawn.py:a", "'flows/drawn.py:a' is not written as module:object, as in 'flows.drawn:a'"),
        ("..up:workflow", "'..up:workflow' is not written as module:object, as in 'app:workflow'"),
        ("drawn_app:work flow", "'drawn_app:work flow' is not written as module:object, as in 'drawn_app:workflow'"),
        ("drawn_ap:workflow", "there is no Python module 'drawn_ap'; near it: drawn_app"),
        ("elsewhere.drawn:a", "there is no Python module 'elsewhere'; modules are looked for here and where Python "),
        ("drawn_app.part:a", "there is no Python module 'drawn_app.part'; near it: drawn_app"),
        ("drawn_app:worklfow", "drawn_app has no 'worklfow'; it has workflow"),
        ("drawn_app:xyz", "drawn_app has no 'xyz'; it has report, workflow"),
        ("drawn_app:number.xyz", "int has no 'xyz'; it has no nn.Module at all"),
        ("drawn_app:number", "'drawn_app:number' is of type int, and no nn.Module"),
        ("drawn_app:nn.__name__", "'drawn_app:nn.__name__' is of type str, and no nn.Module"),
        ("os:getcwd", "'os:getcwd' is of type str, and no nn.Module"),
        ("builtins:dict", "'builtins:dict' is of type dict, and no nn.Module"),
        ("drawn_app:make_from", "'drawn_app:make_from' takes arguments; give a function without any, which returns"),
        ("drawn_app:broken", "calling broken() raised ValueError: no flow today\n  in "),
        ("drawn_app:leave", "calling leave() raised SystemExit: bye\n  in "),
    ],
)
def test_what_cannot_be_drawn_is_explained(refusal, target, said):
    assert refusal(target).startswith(said)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "importing drawn_bad raised ZeroDivisionError: division by zero\n  in {}, line 1"),
        (
            "\nimport not_there",
            "importing drawn_bad raised ModuleNotFoundError: No module named 'not_there'\n  in {}, line 2",
        ),
        ("def (", "importing drawn_bad raised SyntaxError: invalid syntax (drawn_bad.py, line 1)\n  in {}, line 1"),
        ("import sys; sys.exit(2)", "importing drawn_bad raised SystemExit: 2\n  in {}, line 1"),
        ("open('nothing')", "importing drawn_bad raised FileNotFoundError: "),
    ],
)
def test_what_the_code_raises_is_shown_with_its_place(folder, refusal, code, said):
    path = folder / "drawn_bad.py"
    path.write_text(code)
    assert refusal("drawn_bad:workflow").startswith(said.format(path))


def test_a_suffix_that_is_not_known_is_refused_before_anything_is_imported(folder, refusal):
    (folder / "drawn_loud.py").write_text("print('imported')")
    said = refusal("drawn_loud:workflow", "-o", "flow.jpeg")
    assert said == (
        "the suffix of 'flow.jpeg' says nothing about what to write; known: .svg, .png, .pdf, .mmd, .mermaid, .dot, .gv"
    )
    assert "the suffix of 'flow'" in refusal("drawn_loud:workflow", "-o", "flow")


def test_a_folder_that_is_not_there_is_one_line(refusal):
    assert "No such file or directory: 'missing/flow.mmd'" in refusal("drawn_app:workflow", "-o", "missing/flow.mmd")


def test_importing_the_command_does_not_load_what_draws_flows():
    assert run_script("import sys, msgflow.cli\nprint('msgflow.flow' in sys.modules)") == "False"
