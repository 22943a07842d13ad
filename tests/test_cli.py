"""The `msgflow` command: what it prints, where, and its exit status."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import msgflow as mf
from msgflow.cli import demo, main
from msgflow.models import weights
from scripts.check_demo import problems
from tests.embedded import require_smollm2

DOC = "# Wire\n\nThe wire client is fast.\n\n## Transports\n\nThe wire client uses the library aiohttp.\n"


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "handbook"
    folder.mkdir()
    (folder / "wire.md").write_text(DOC)
    (folder / "other.md").write_text("# Cooking\n\nBoil water.\n")
    return folder


class Server(ThreadingHTTPServer):
    """A server of the chat completions protocol; `answer` gives the text for a request."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.requests = answer, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        message = {"role": "assistant", "content": self.server.answer(request)}
        body = json.dumps(
            {
                "id": "r1",
                "model": request["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 30, "completion_tokens": 5},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def serving(monkeypatch) -> Iterator:
    """Starts a server that OPENAI_BASE_URL leads to."""
    servers = []

    def start(answer):
        server = Server(answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(capsys, *arguments):
    """The one line that a command which fails writes to stderr."""
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("msgflow: ")
    return line


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"msgflow {mf.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "arguments are required: COMMAND"),
        (["models"], "arguments are required: ACTION"),
        (["models", "pull"], "arguments are required: name"),
        (["models", "pull", "gpt-17"], "invalid choice: 'gpt-17'"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_what_is_no_command_is_explained_with_the_usage(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    assert ended.value.code == 2 and said in printed.err and "usage: msgflow" in printed.err and not printed.out


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["models", "--help"], ["models", "pull", "-h"]])
def test_every_command_has_help(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0 and "usage: msgflow" in capsys.readouterr().out


def test_models_list_shows_each_model_with_its_size_licence_and_place(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "find", lambda name: tmp_path if name == "smollm2" else None)
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(weights.WEIGHTS)
    assert lines[0].endswith(f"Apache-2.0  {tmp_path}") and lines[1].endswith("not fetched")


def test_models_pull_fetches_and_says_where_to(capsys, tmp_path, monkeypatch):
    def pull(name, *, say):
        say(f"fetching {name}")
        return tmp_path

    monkeypatch.setattr(weights, "pull", pull)
    assert main(["models", "pull", "smollm2"]) == 0
    assert capsys.readouterr().out == f"fetching smollm2\n{tmp_path}\n"


# --- demo ------------------------------------------------------------------------------------------------------------


def test_the_demo_prints_what_it_promises(capsys, docs, serving):
    server = serving(lambda request: "aiohttp" if demo.OTHER_INSTRUCTIONS in str(request) else "It uses\n aiohttp.")
    assert main(["demo", "--docs", str(docs), "--model", "openai/gpt-4.1-mini"]) == 0
    printed = capsys.readouterr()
    assert problems(printed.out) == []
    assert "docs:     handbook, 3 passages" in printed.out and "source:   wire.md#transports" in printed.out
    assert "30 -> 5 tokens" in printed.out and not printed.err
    assert "The wire client uses the library aiohttp." in server.requests[0]["messages"][1]["content"]


def test_the_demo_swaps_the_prompt_of_the_living_agent(capsys, docs, serving):
    server = serving(lambda request: request["messages"][0]["content"])
    assert main(["demo", "--docs", str(docs), "--model", "openai/x", "--ask", "What boils?"]) == 0
    first, second = (request["messages"][0]["content"] for request in server.requests)
    assert (first, second) == (demo.INSTRUCTIONS, demo.OTHER_INSTRUCTIONS)
    printed = capsys.readouterr().out
    assert printed.count("question: What boils?") == 2 and len(set(re.findall(r"state: +(\w+)", printed))) == 2


def test_the_folder_of_documents_is_named_however_it_was_written(capsys, docs, serving, monkeypatch):
    serving(lambda request: "x")
    monkeypatch.chdir(docs)
    assert main(["demo", "--docs", ".", "--model", "openai/x"]) == 0
    assert capsys.readouterr().out.startswith("docs:     handbook, 3 passages\n")


def test_a_folder_without_documents_is_one_line_on_stderr(capsys, tmp_path):
    assert "matches *.md" in refusal(capsys, "demo", "--docs", str(tmp_path))
    assert "cannot be read" in refusal(capsys, "demo", "--docs", str(tmp_path / "missing"))


def test_a_model_that_is_not_known_or_lacks_its_key_is_one_line_on_stderr(capsys, docs, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "no provider for 'nope/x'" in refusal(capsys, "demo", "--docs", str(docs), "--model", "nope/x")
    key = refusal(capsys, "demo", "--docs", str(docs), "--model", "openai/gpt-4.1-mini")
    assert "needs an API key: set the environment variable OPENAI_API_KEY" in key


def test_the_docs_are_the_installed_ones_and_else_those_of_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "msgflow"
    (package / "_docs").mkdir(parents=True)
    monkeypatch.setattr(mf, "__file__", str(package / "__init__.py"))
    assert demo.own_docs() == package / "_docs"
    (package / "_docs").rmdir()
    assert demo.own_docs() == tmp_path / "docs"


def test_as_a_module_it_is_the_same_command(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["msgflow", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_module("msgflow.cli.__main__", run_name="__main__")
    assert capsys.readouterr().out == f"msgflow {mf.__version__}\n"


def test_ctrl_c_is_status_130_wherever_it_comes(capsys, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(weights, "find", interrupt)
    assert main(["models", "list"]) == 130 and capsys.readouterr() == ("", "")


def test_ctrl_c_ends_the_command_quietly_with_130(docs, serving):
    asked, ended = threading.Event(), threading.Event()

    def hang(request):
        asked.set()
        ended.wait(30)
        return "late"

    serving(hang)
    command = [sys.executable, "-m", "msgflow.cli", "demo", "--docs", str(docs), "--model", "openai/x"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert asked.wait(30)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    ended.set()
    assert (running.returncode, err) == (130, "") and out.startswith("docs: ")


@pytest.mark.embedded
def test_the_demo_runs_on_the_embedded_model(capsys, docs):
    require_smollm2()
    assert main(["demo", "--docs", str(docs)]) == 0
    assert [name for name in problems(capsys.readouterr().out) if "answer" not in name] == []


# --- the check of its output -----------------------------------------------------------------------------------------

GOOD = """docs:     docs, 71 passages
question: Which?
answer:   It uses aiohttp.
source:   models.md#transports
state:    0123456789abcdef
time:     2.1 s to the first answer

invoke_workflow AnswerFromDocs    1.86 s  state 0123456789abcdef
├─ retrieval docs                 475 us
└─ invoke_agent answerer          1.86 s  85 -> 11 tokens
   └─ chat smollm2                1.86 s  85 -> 11 tokens

question: Which?
answer:   aiohttp
source:   models.md#transports
state:    fedcba9876543210
"""


def test_a_good_output_has_no_problems():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("answer:   aiohttp\n", "", "two answers"),
        ("It uses aiohttp.", "It uses httpx.", "a correct first answer (it names aiohttp)"),
        ("answer:   aiohttp", "answer:   It uses aiohttp.", "a different second answer"),
        ("source:   models.md#transports\n", "", "a source"),
        ("├─ retrieval docs", "retrieval docs", "one tree with one root"),
        ("   └─ chat smollm2", "", "one tree with one root"),
        ("fedcba9876543210", "0123456789abcdef", "two different state digests"),
        ("state:    fedcba9876543210", "", "two different state digests"),
    ],
)
def test_each_thing_that_is_missing_is_reported(old, new, problem):
    assert problem in problems(GOOD.replace(old, new))


def test_an_empty_output_lacks_everything():
    assert len(problems("")) == 6


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), ("", 1)])
def test_the_check_reads_a_pipe_and_says_what_is_missing(text, status):
    done = subprocess.run(
        [sys.executable, "scripts/check_demo.py"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == status and done.stderr.count("the demo's output lacks") == 6 * status
