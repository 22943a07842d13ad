"""Runs the code fences of a Markdown page as a reader would: in order, in an empty folder, reading what is printed.

    ```python                  runs; all of a page's share one namespace, and `await` works at the top level
    ```python raises=DataError must raise that error; the next fence shows the end of its message
    ```python of=ARK           a program of another library, which is not there: it must parse
    ```text                    what the python fence right above it prints
    ```console                 `$ ` lines are commands, the rest is what they print
    ```console exit=1          ... and the last of them ends with that status
    ```toml, ```json           must parse
    ```mermaid                 is a picture, or what the python fence right above it prints

Anything else fails, so that no fence goes unread. `...` in a shown output stands for any run of characters.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import linecache
import logging
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from unittest import mock

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
COMMAND_TIMEOUT_S = 60

# Commands that are shown but not run here, by how they begin, each with the reason.
SHOWN_ONLY = {
    "git clone ": "there is no network",
    "cd ": "the next commands are run where the page is run",
    "pip install ": "the package is installed already",
}
# The same, but these must exist: as a target of the Makefile or a line of .ci/run, where CI runs them.
MAKE_TARGETS = {
    "make demo": "may start the embedded model",
    "make test": "is this very suite",
    "make check": "runs this suite, among others",
    "make bench": "takes minutes",
    "make docs": "writes into the repository",
}


class FenceFailure(AssertionError):
    """A fence that does not do what its page says; the message begins with file and line, as editors follow them."""


@dataclass(frozen=True, slots=True)
class Fence:
    """A code fence. `line` is that of its opening, counted from 1; `end` is the line after its closing."""

    page: str
    line: int
    end: int
    language: str
    options: dict[str, str]
    text: str

    def failure(self, problem: str, *, expected: str | None = None, got: str | None = None) -> FenceFailure:
        sides = [(name, text) for name, text in (("expected", expected), ("got", got)) if text is not None]
        shown = "".join(f"\n{name}:\n{text.rstrip() or '(nothing)'}" for name, text in sides)
        return FenceFailure(f"{self.page}:{self.line}: {problem}{shown}")


def find_fences(text: str, page: str) -> list[Fence]:
    """The fences of a page, in order. Raises FenceFailure for code that is not in a fence of its own."""
    fences = []
    for token in MarkdownIt("commonmark").parse(text):
        if token.type not in ("fence", "code_block", "html_block"):
            continue
        language, *options = token.info.split() or [""]
        pairs = dict(option.partition("=")[::2] for option in options)
        fence = Fence(page, token.map[0] + 1, token.map[1] + 1, language, pairs, token.content)
        if token.type == "code_block":
            raise fence.failure("code that is indented is not run; write a fence, and not inside of indented text")
        if token.type == "fence":
            fences.append(fence)
        elif re.search("```|~~~", token.content):
            raise fence.failure("a fence inside of HTML is not run; put an empty line before it")
    return fences


def embedded_model_missing() -> str | None:
    """Why the embedded model cannot run here, or None."""
    try:
        import xllamacpp  # noqa: F401  (only whether it is there)
    except ImportError as error:
        return f"xllamacpp is not installed ({error})"
    from msgflow.models import weights

    return None if weights.find("smollm2") else "the weights of the embedded model are not in the cache"


def torch_missing() -> str | None:
    """Why PyTorch's programs cannot run here, or None."""
    return None if find_spec("torch") else "PyTorch is not installed: pip install 'msgflow[oracle]'"


NEEDS = {"embedded": lambda: embedded_model_missing(), "torch": lambda: torch_missing()}


def skip_reason(text: str, page: str) -> str | None:
    """Why a page cannot be run here: it says at its top `<!-- needs: torch -->`, or embedded, and that is missing."""
    needs = re.match(r"\s*<!--\s*needs:\s*(.*?)\s*-->", text)
    if needs and needs[1] not in NEEDS:
        raise FenceFailure(f"{page}:1: a page may need one of {', '.join(map(repr, NEEDS))}; got {needs[1]!r}")
    return NEEDS[needs[1]]() if needs else None


def run_page(text: str, page: str, folder: Path) -> None:
    """Run all fences of a page in a folder. `page` is its name in messages. Raises FenceFailure."""
    fences = find_fences(text, page)
    lines = text.split("\n")
    answers = {
        question.line: answer
        for question, answer in pairwise(fences)
        if question.language == "python"
        and answer.language in ("text", "mermaid")
        and not "".join(lines[question.end - 1 : answer.line - 1]).strip()
    }
    for fence in fences:
        if fence.language == "text" and fence not in answers.values():
            raise fence.failure("a text fence shows what is printed, so it must be right below a python fence")
    with contextlib.chdir(folder), clean_environment(), session(text, page) as namespace:
        for fence in fences:
            if fence.language == "python":
                run_python(fence, answers.get(fence.line), namespace)
            elif fence.language != "text":
                run_other(fence)


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    """Without the settings and keys of whoever runs the tests, but with the cache where the weights are."""
    foreign = re.compile(r"(MSGFLOW_(?!CACHE$)|OTEL_).*|.*(_API_KEY|_BASE_URL)")
    kept = {name: value for name, value in os.environ.items() if not foreign.fullmatch(name)}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    kept |= {"PYTHONPATH": path, "COLUMNS": "80", "NO_COLOR": "1"}
    with mock.patch.dict(os.environ, kept, clear=True):
        yield


@contextlib.contextmanager
def session(text: str, page: str) -> Iterator[dict[str, object]]:
    """The namespace of a page. It is a module's, with source, for that is where Python looks for names and lines.

    Loggers that a page makes quiet speak again after it.
    """
    module = types.ModuleType(re.sub(r"\W", "_", page))
    sys.modules[module.__name__] = module
    linecache.cache[page] = (len(text), None, text.splitlines(keepends=True), page)
    levels = {name: logging.getLogger(name).level for name in tuple(logging.root.manager.loggerDict)}
    try:
        yield vars(module)
    finally:
        del sys.modules[module.__name__], linecache.cache[page]
        for name in tuple(logging.root.manager.loggerDict):
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def run_python(fence: Fence, answer: Fence | None, namespace: dict[str, object]) -> None:
    if fence.options.keys() == {"of"}:
        parse(fence)
        return
    if fence.options.keys() - {"raises"}:
        raise fence.failure(f"a python fence may say raises=ErrorName or of=ALibrary; got {fence.options}")
    expected = fence.options.get("raises")
    printed, error = execute(fence, namespace)
    if error is not None and type(error).__name__ != expected:
        raise fence.failure(f"raises {type(error).__name__}", expected=expected, got=str(error)) from error
    if error is not None:
        compare_message(fence, answer, error)
    elif expected:
        raise fence.failure("raises nothing", expected=expected, got=printed)
    elif answer is None and printed.strip():
        raise fence.failure("prints, and no text fence right below it shows what", got=printed)
    elif answer is not None and not (printed.strip() and matches(answer.text, printed)):
        raise answer.failure("the output is another", expected=answer.text, got=printed)


def parse(fence: Fence) -> None:
    try:
        ast.parse(fence.text)
    except SyntaxError as error:
        raise fence.failure(f"is no Python: {error}", got=fence.text) from error


def compare_message(fence: Fence, answer: Fence | None, error: BaseException) -> None:
    """The last lines of a message, with its notes, with or without the error's name before it."""
    message = "\n".join([str(error), *getattr(error, "__notes__", [])])
    if answer is None:
        raise fence.failure("no text fence right below it shows the message", got=message)
    endings = (f">\n{message}", f">\n{type(error).__name__}: {message}")
    if not any(matches(f">...\n{answer.text}", ending) for ending in endings):
        raise answer.failure("the message is another", expected=answer.text, got=message)


def execute(fence: Fence, namespace: dict[str, object]) -> tuple[str, BaseException | None]:
    """What a fence prints, and what it raises. Tracebacks show the lines of the page."""
    printed = io.StringIO()
    padded = "\n" * fence.line + fence.text
    try:
        with contextlib.redirect_stdout(printed):
            code = compile(padded, fence.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            result = eval(code, namespace)
            if inspect.iscoroutine(result):
                asyncio.run(result)
    except (Exception, SystemExit) as error:
        return printed.getvalue(), error
    return printed.getvalue(), None


def run_other(fence: Fence) -> None:
    """A fence in another language than python."""
    readers = {
        "console": run_console,
        "toml": lambda fence: tomllib.loads(fence.text),
        "json": lambda fence: json.loads(fence.text),
        "mermaid": lambda fence: None,
    }
    if fence.language not in readers:
        raise fence.failure(f"a fence is python, text, {', '.join(readers)}", got=fence.language)
    try:
        readers[fence.language](fence)
    except ValueError as error:
        raise fence.failure(f"is no {fence.language}: {error}", got=fence.text) from error


def run_console(fence: Fence) -> None:
    first, *steps = re.split(r"^\$ (?=\S)", fence.text.replace("\\\n", " "), flags=re.MULTILINE)
    if first.strip() or not steps or fence.options.keys() - {"exit"}:
        raise fence.failure("a console fence begins with '$ ' and a command, and may say exit=1", got=fence.text)
    for place, step in enumerate(steps, 1):
        command, _, expected = step.partition("\n")
        run_command(fence, command.strip(), expected, int(fence.options.get("exit", 0)) if place == len(steps) else 0)


def run_command(fence: Fence, command: str, expected: str, status: int) -> None:
    program, *arguments = shlex.split(command)
    if program not in ("msgflow", "python"):
        if not is_known(command):
            raise fence.failure("is no command that this suite can run or knows to leave to CI", got=command)
        return
    line = [sys.executable, *(["-m", "msgflow.cli"] if program == "msgflow" else []), *arguments]
    try:
        done = subprocess.run(line, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, timeout=COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise fence.failure(f"`{command}` was still running after {COMMAND_TIMEOUT_S} s") from error
    if done.returncode != status:
        raise fence.failure(f"`{command}` ended with status {done.returncode}, not {status}", got=done.stdout)
    if not matches(expected, done.stdout):
        raise fence.failure(f"`{command}` prints something else", expected=expected, got=done.stdout)


def is_known(command: str, root: Path = ROOT) -> bool:
    """Whether a command is one that is shown but not run."""
    if command not in MAKE_TARGETS:
        return command.startswith(tuple(SHOWN_ONLY))
    target = command.removeprefix("make ")
    makefile, ci = (path.read_text() if path.exists() else "" for path in (root / "Makefile", root / ".ci/run"))
    return bool(re.search(rf"^{target}:|^\s*{command}\b", f"{makefile}\n{ci}", re.MULTILINE))


def matches(expected: str, got: str) -> bool:
    """Whether an output is as shown, but for white space at the ends of lines; `...` is any run of characters."""
    expected, got = ("\n".join(line.rstrip() for line in text.strip("\n").split("\n")) for text in (expected, got))
    head, *parts = map(re.escape, expected.split("..."))
    if parts:  # each at its first place, never tried again: many `...` would take for ever
        head += "".join(f"(?>.*?{part})" for part in parts[:-1]) + f".*{parts[-1]}"
    return re.fullmatch(head, got, re.DOTALL) is not None
