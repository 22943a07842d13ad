"""The embedded model: llama.cpp in this process."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from urllib.parse import urlsplit

import anyio
import pytest

from msgflow.errors import ModelError, ModelFileError, ModelRefused, ModelUnreachable, UnknownModel
from msgflow.messages import Finished, Request, TextDelta, as_settings, user
from msgflow.models import local
from msgflow.models.local import LocalChat
from msgflow.models.openai_chat import OpenAIChat
from msgflow.models.protocol import Model, Profile
from msgflow.models.weights import WEIGHTS, WeightFile, Weights, find

# No end of sequence: such an answer goes on to its limit.
ENDLESS = {"logit_bias": [[0, -100], [2, -100]]}


def ask(text="Name a colour.", **given) -> Request:
    return Request((user(text),), settings=as_settings(given))


def test_it_says_what_it_is_before_anything_is_fetched_or_started():
    model = LocalChat("smollm2")
    assert isinstance(model, Model)
    assert (model.spec, model.provider, model.name) == ("local/smollm2", "llamacpp", "smollm2")
    assert model.profile == Profile(native_tools=False)
    assert repr(model) == "LocalChat('smollm2')"


@pytest.mark.parametrize("name", ["gpt-17", "all-minilm-l6-v2", ""])
def test_only_chat_models_of_the_table_are_known(name):
    with pytest.raises(UnknownModel, match="known: local/smollm2"):
        LocalChat(name)


# --- without llama.cpp -----------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Iterator[LocalChat]:
    """A model of the table whose file is not there; what is started while it is used is stopped."""
    file = WeightFile("tiny/model.gguf", 3, "0" * 64)
    facts = {"package": "tiny", "version": "1", "wheel_size": 1, "wheel_sha256": "", "licence": "MIT"}
    monkeypatch.setitem(WEIGHTS, "tiny", Weights(name="tiny", task="chat", files=(file,), **facts))
    monkeypatch.setenv("MSGFLOW_CACHE", str(tmp_path))
    yield LocalChat("tiny")
    local._servers.stop()


class BrokenEngine:
    """Stands in for xllamacpp: takes all parameters and cannot load any file."""

    @staticmethod
    def CommonParams():
        return SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace())

    @staticmethod
    def Server(params):
        raise RuntimeError("Failed to init server.")


async def test_a_missing_engine_is_reported_with_the_command_that_installs_it(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelError, match=r"pip install 'msgflow\[local\]'") as caught:
        await tiny.complete(ask())
    assert caught.value.model == "local/tiny"


async def test_a_damaged_file_is_reported_before_llama_cpp_sees_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", BrokenEngine)
    path = tmp_path / "models" / "tiny" / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"???")
    with pytest.raises(ModelFileError, match=r"is damaged: .*`msgflow models pull tiny` mends it"):
        await tiny.complete(ask())


async def test_a_file_that_llama_cpp_cannot_load_is_reported(tiny, tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"???")
    monkeypatch.setitem(sys.modules, "xllamacpp", BrokenEngine)
    monkeypatch.setattr(local, "ready", lambda name, say: tmp_path / "model.gguf")
    with pytest.raises(ModelFileError, match=r"could not load .*: Failed to init server\. .* enough memory"):
        await tiny.complete(ask())


async def test_weights_that_are_fetched_on_first_use_are_announced_on_stderr(tiny, tmp_path, monkeypatch, capsys):
    def fetched(name, say):
        say(f"fetching {name} (93 MB)")
        raise ModelFileError("no network")

    monkeypatch.setitem(sys.modules, "xllamacpp", BrokenEngine)
    monkeypatch.setattr(local, "ready", fetched)
    with pytest.raises(ModelFileError, match="no network"):
        await tiny.complete(ask())
    assert capsys.readouterr() == ("", "fetching tiny (93 MB)\n")


class Unreachable:
    """A client whose server is gone."""

    async def complete(self, request):
        raise ModelUnreachable("gone")

    async def stream(self, request):
        raise ModelUnreachable("gone")
        yield


async def test_a_running_server_that_cannot_be_reached_is_reported(tiny, monkeypatch):
    running = SimpleNamespace(chat=Unreachable(), is_running=True)
    monkeypatch.setitem(local._servers.running, "tiny", running)
    with pytest.raises(ModelUnreachable, match="gone"):
        await tiny.complete(ask())
    with pytest.raises(ModelUnreachable, match="gone"):
        [event async for event in tiny.stream(ask())]
    del local._servers.running["tiny"]


async def test_a_server_that_is_stopped_again_and_again_is_given_up(tiny, monkeypatch):
    running = SimpleNamespace(chat=Unreachable(), is_running=False)
    monkeypatch.setitem(local._servers.running, "tiny", running)
    with pytest.raises(ModelUnreachable, match="stopped 3 times"):
        await tiny.complete(ask())
    with pytest.raises(ModelUnreachable, match="stopped 3 times"):
        [event async for event in tiny.stream(ask())]
    del local._servers.running["tiny"]


def test_nothing_is_started_while_the_interpreter_shuts_down():
    servers = local._Servers()
    servers.close()
    with pytest.raises(ModelUnreachable, match="shutting down"):
        servers.launch("smollm2")


# --- with llama.cpp --------------------------------------------------------------------------------------------------


@pytest.fixture
def smollm2():
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    if find("smollm2") is None:
        pytest.skip("no weights: run `msgflow models pull smollm2`")
    return LocalChat("smollm2")


@pytest.fixture
def starts(monkeypatch) -> list[str]:
    """The names of the engines that are started, from none on."""
    started, start = [], local._engine

    def counted(name, key):
        started.append(name)
        return start(name, key)

    local._servers.stop()
    monkeypatch.setattr(local, "_engine", counted)
    return started


@pytest.mark.embedded
async def test_it_answers_the_same_each_time_and_reports_what_it_took(smollm2):
    first = await smollm2.complete(ask(max_tokens=8))
    again = await LocalChat("smollm2").complete(ask(max_tokens=8))
    assert first.text == again.text != ""
    assert first.model == "smollm2"
    assert first.usage.input > 5 and first.usage.output == 8 and first.finish_reason == "length"


@pytest.mark.embedded
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_a_requests_own_settings_win(smollm2, limit):
    assert (await smollm2.complete(ask(**{limit: 3}))).usage.output == 3


@pytest.mark.embedded
async def test_an_answer_has_an_end_where_nothing_else_is_said(smollm2, monkeypatch):
    monkeypatch.setitem(local.DEFAULTS, "max_tokens", 12)
    assert (await smollm2.complete(ask(**ENDLESS))).usage.output == 12


@pytest.mark.embedded
async def test_a_stream_comes_in_pieces_that_make_up_the_answer(smollm2):
    whole = await smollm2.complete(ask(max_tokens=8))
    *deltas, finished = [event async for event in smollm2.stream(ask(max_tokens=8))]
    assert len(deltas) > 1 and all(isinstance(delta, TextDelta) for delta in deltas)
    assert isinstance(finished, Finished)
    assert "".join(delta.text for delta in deltas) == finished.response.text == whole.text


@pytest.mark.embedded
async def test_a_prompt_that_is_too_long_is_refused_with_the_numbers(smollm2):
    long = ask("word " * 5000)
    with pytest.raises(ModelRefused, match=r"has 50\d\d tokens, and local/smollm2 has room for 2048") as caught:
        await smollm2.complete(long)
    assert (caught.value.status, caught.value.model) == (400, "local/smollm2")
    with pytest.raises(ModelRefused, match="Shorten the prompt"):
        [event async for event in smollm2.stream(long)]


@pytest.mark.embedded
async def test_a_setting_that_llama_cpp_refuses_is_reported_in_its_words(smollm2):
    with pytest.raises(ModelRefused, match="the server refused the request with 400"):
        await smollm2.complete(ask(grammar="root ::= ("))


@pytest.mark.embedded
async def test_more_calls_than_run_at_once_wait_for_their_turn(smollm2):
    answers = await asyncio.gather(*(smollm2.complete(ask(f"Say {n}.", max_tokens=2)) for n in range(20)))
    assert [answer.usage.output for answer in answers] == [2] * 20


@pytest.mark.embedded
async def test_cancelled_calls_make_room_for_others(smollm2):
    """Four of these would keep both places busy for far longer than the next call is given."""
    with anyio.move_on_after(1):
        await asyncio.gather(*(smollm2.complete(ask(max_tokens=1900, **ENDLESS)) for _ in range(4)))
    with anyio.fail_after(25):
        assert (await smollm2.complete(ask(max_tokens=1))).usage.output == 1


@pytest.mark.embedded
async def test_leaving_a_stream_early_makes_room_for_others(smollm2):
    for _ in range(4):
        events = smollm2.stream(ask(max_tokens=1900, **ENDLESS))
        assert isinstance(await anext(events), TextDelta)
        await events.aclose()
    with anyio.fail_after(25):
        assert (await smollm2.complete(ask(max_tokens=1))).usage.output == 1


@pytest.mark.embedded
def test_threads_that_begin_at_once_share_one_server(smollm2, starts):
    texts = []

    def call():
        texts.append(asyncio.run(LocalChat("smollm2").complete(ask(max_tokens=4))).text)

    threads = [Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starts == ["smollm2"]
    assert len(texts) == 4 and len(set(texts)) == 1


@pytest.mark.embedded
async def test_a_start_that_is_cancelled_serves_the_next_call(smollm2, starts):
    with anyio.move_on_after(0.001):
        await smollm2.complete(ask(max_tokens=1))
    assert (await smollm2.complete(ask(max_tokens=1))).usage.output == 1
    assert starts == ["smollm2"]


@pytest.mark.embedded
async def test_strangers_on_this_machine_need_the_key(smollm2):
    await smollm2.complete(ask(max_tokens=1))
    stranger = OpenAIChat("smollm2", base_url=base_url(), api_key="guess")
    with pytest.raises(ModelRefused, match="401"):
        await stranger.complete(ask(max_tokens=1))
    assert urlsplit(base_url()).hostname == "127.0.0.1"


def base_url() -> str:
    return f"{local._servers.running['smollm2']._engine.listening_address}/v1"


@pytest.mark.embedded
async def test_stopping_closes_the_port_and_the_next_call_starts_anew(smollm2, starts):
    await smollm2.complete(ask(max_tokens=1))
    port = urlsplit(base_url()).port
    local._servers.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert (await smollm2.complete(ask(max_tokens=1))).usage.output == 1
    assert starts == ["smollm2", "smollm2"]


@pytest.mark.embedded
async def test_a_call_whose_server_is_stopped_under_it_is_asked_again(smollm2, starts):
    expected = await smollm2.complete(ask(max_tokens=40, **ENDLESS))
    call = asyncio.create_task(smollm2.complete(ask(max_tokens=40, **ENDLESS)))
    await asyncio.sleep(0.1)
    local._servers.stop()
    assert (await call).text == expected.text
    assert starts == ["smollm2", "smollm2"]


@pytest.mark.embedded
async def test_a_stream_that_has_begun_is_not_asked_for_again(smollm2, starts):
    events = smollm2.stream(ask(max_tokens=1900, **ENDLESS))
    await anext(events)
    local._servers.stop()
    with pytest.raises(ModelUnreachable):
        [event async for event in events]
    assert starts == ["smollm2"]


PROGRAM = """
import asyncio, os, sys, threading, time
from msgflow.errors import ModelError
from msgflow.messages import Request, as_settings, user
from msgflow.models.local import LocalChat

def call(**given):
    request = Request((user("Name a colour."),), settings=as_settings({"max_tokens": 4, **given}))
    return asyncio.run(LocalChat("smollm2").complete(request)).text
"""


def run_program(body: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", PROGRAM + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, env=os.environ)


@pytest.mark.embedded
def test_a_program_ends_by_itself_and_llama_cpp_prints_nothing(smollm2):
    done = run_program("print(bool(call()))")
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.mark.embedded
@pytest.mark.parametrize("delay_s", [0.02, 0.5], ids=["connecting", "generating"])
def test_a_program_ends_while_a_thread_is_in_the_middle_of_a_call(smollm2, delay_s):
    done = run_program(f"""
def endless():
    try:
        call(max_tokens=1900, logit_bias=[[0, -100], [2, -100]])
    except ModelError:
        pass

call()
threading.Thread(target=endless, daemon=True).start()
time.sleep({delay_s})
print("end")
""")
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)


@pytest.mark.embedded
def test_a_forked_child_and_its_parent_each_start_their_own_server(smollm2):
    """Both end in the ordinary way, with all exit functions and destructors."""
    done = run_program("""
before = call()
child = os.fork()
if child == 0:
    sys.exit(0 if call() == before else 1)
print(os.waitpid(child, 0)[1], call() == before)
""")
    assert (done.stdout, done.stderr, done.returncode) == ("0 True\n", "", 0)
