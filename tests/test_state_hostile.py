"""Files that were made to harm: refused with their reason, quickly, and without filling the memory."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy  # loaded before the process forks, so that its size is not counted
import pytest
import safetensors.numpy

import msgflow as mf
from msgflow.errors import StateFileError
from msgflow.state import disk

ROOT = Path(__file__).parent.parent
MEGA = 2**20


class Loader:
    """A process that forks a child to load a file, and says what came of it and what it took."""

    def __init__(self):
        line = [sys.executable, "-m", "tests.test_state_hostile"]
        self.process = subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, path, memory_limit=resource.RLIM_INFINITY):
        self.process.stdin.write(json.dumps({"path": str(path), "memory_limit": memory_limit}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def loader():
    loader = Loader()
    yield loader
    loader.close()


def refused(loader, path, *, says, memory_mb=100):
    """Loading must raise StateFileError, with the path and what is wrong, within a second and so much memory."""
    report = loader(path)
    assert report["error"] == "StateFileError", report
    assert path.name in report["message"] and says in report["message"] and len(report["message"]) < 1000, report
    # Of the process alone: a call that waited would run into the time limit of the test.
    assert report["seconds"] < 1 and report["memory_mb"] < memory_mb, report


def raw(header, data=b"", *, size=None):
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def tensor(start=0, end=1, dtype="U8", shape=(1,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


ENTRY = json.dumps(tensor()).encode()
TEXTS = {
    "deep lists.json": (b"[" * 30 * MEGA, "nested too deep"),
    "deep dicts.json": (b'{"a":' * 10 * MEGA, "nested too deep"),
    "closed lists.json": (b'{"a":' + b"[" * 10 * MEGA + b"]" * 10 * MEGA + b"}", "nested too deep"),
    "duplicate.json": (b'{"a": 1, ' + b'"b": 0, ' * MEGA + b'"c": 0}', "'b' is there twice"),
    "too large.json": (b" " * (64 * MEGA + 1), "larger than"),
    "digits.json": (b'{"a": ' + b"9" * 10 * MEGA + b"}", "a number cannot be read"),
    "not text.json": (b'{"a": "' + b"\xff" * MEGA, "not UTF-8"),
    "deep lists.toml": (b"a = " + b"[" * 7 * MEGA, "nested too deep"),
    "deep tables.toml": (b"a = " + b"{a=" * 2 * MEGA, "nested too deep"),
    "deep key.toml": (b"a." * 3 * MEGA + b"a = 1", "line 1: a key is nested"),
    "deep header.toml": (b"x = '''\n'''\n[" + b"a . " * MEGA + b"a]\n", "line 3: a key is nested"),
    "deep array.toml": (b"[[" + b"a." * 3 * MEGA + b"a]]\n", "line 1: a key is nested"),
    "deep quoted key.toml": (b"""'a'."b".""" * (MEGA // 2) + b"a = 1", "line 1: a key is nested"),
    "deep inline key.toml": (b"x = [{ " + b"a." * 3 * MEGA + b"a = 1 }]", "line 1: a key is nested"),
    "deep key behind a quote.toml": (b'"\\"' * MEGA + b"a." * MEGA + b"a = 1", "not valid TOML"),
    "open strings.toml": (b'"""\\' * MEGA, "not valid TOML"),
    "open quotes.toml": (b'"\\' * MEGA, "not valid TOML"),
    "open literals.toml": (b"'''a'" * MEGA, "not valid TOML"),
    "duplicate.toml": (b"a = 1\na = 2\n" + b"b = 1\n" * MEGA, "Cannot overwrite"),
    "digits.toml": (b"a = " + b"9" * 7 * MEGA, "line 1: a number or a key without quotes"),
    "digits behind a dot.toml": (b"a = 1." + b"9" * 7 * MEGA, "line 1: a number or a key without quotes"),
    "hexadecimal digits.toml": (b"a = 0x" + b"f" * 7 * MEGA, "line 1: a number or a key without quotes"),
    "long key.toml": (b"a.b.-" + b"a" * 7 * MEGA + b" = 1", "line 1: a number or a key without quotes"),
    "too large.toml": (b" " * (8 * MEGA + 1), "larger than"),
    "not text.toml": (b"a = '" + b"\xff" * MEGA, "not UTF-8"),
}
TENSORS = {
    "empty": (b"", "header"),
    "short": (b"\x02\0\0", "header"),
    "header beyond the file": (raw(b"{}", size=100), "header of 100 bytes"),
    "header of exabytes": (raw(b"{}", size=2**63), "header of 9223372036854775808 bytes"),
    "huge header": (raw(b"{" + b" " * 17 * MEGA + b"}"), "it may have 16777216"),
    "header of spaces": (raw(b" " * 15 * MEGA), "invalid JSON"),
    "no JSON": (raw(b"{nonsense"), "invalid JSON"),
    "no object": (raw(b"[]"), "invalid"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "not a safetensors file"),
    "deep header": (raw(b'{"a":' + b"[" * 10 * MEGA), "invalid JSON"),
    "many names": (raw(b"{" + b'"a":[],' * MEGA + b'"b":[]}'), "invalid JSON"),
    "offsets beyond the file": (raw({"a": tensor(0, 2**40, shape=[2**40])}, b"1"), "not a safetensors file"),
    "offsets backwards": (raw({"a": tensor(1, 0)}, b"1"), "not a safetensors file"),
    "negative offset": (raw({"a": tensor(-1, 0)}, b"1"), "not a safetensors file"),
    "overlap": (raw({"a": tensor(0, 2, shape=[2]), "b": tensor(1, 3, shape=[2])}, b"123"), "not a safetensors file"),
    "the same bytes twice": (raw({"a": tensor(), "b": tensor()}, b"1"), "not a safetensors file"),
    "hole": (raw({"a": tensor(1, 2)}, b"12"), "not a safetensors file"),
    "trailing bytes": (raw({"a": tensor()}, b"12"), "not a safetensors file"),
    "type of another size": (raw({"a": tensor(dtype="F64")}, b"1"), "not a safetensors file"),
    "unknown type": (raw({"a": tensor(dtype="PICKLE")}, b"1"), "not a safetensors file"),
    "shape of another size": (raw({"a": tensor(shape=[2])}, b"1"), "not a safetensors file"),
    "enormous shape": (raw({"a": tensor(shape=[2**62, 2**62])}, b"1"), "not a safetensors file"),
    "enormous empty shape": (raw({"a.b": tensor(0, 0, shape=[2**62, 0, 2**62])}), "the tensor 'a.b' cannot be loaded"),
    "more than numpy counts": (raw({"a.b": tensor(0, 0, shape=[2**63, 0])}), "the tensor 'a.b' cannot be loaded"),
    "hundred axes": (raw({"a.b": tensor(shape=[1] * 100)}, b"1"), "the tensor 'a.b' cannot be loaded"),
    "negative shape": (raw({"a": tensor(shape=[-1])}, b"1"), "not a safetensors file"),
    "no booleans": (raw({"a.b": tensor(dtype="BOOL")}, b"\x07"), "the tensor 'a.b' cannot be loaded"),
    "duplicate name": (raw(b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}", b"1"), "'a' is there twice"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), "invalid JSON"),
    "deep metadata": (raw({"__metadata__": {"msgflow.state": "[" * 10 * MEGA}}), "nested too deep"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_file_is_refused(tmp_path, loader, name):
    data, says = TEXTS[name]
    (tmp_path / name).write_bytes(data)
    refused(loader, tmp_path / name, says=says, memory_mb=5 * len(data) / MEGA + 50)


@pytest.mark.parametrize("name", TENSORS)
def test_a_hostile_file_of_tensors_is_refused(tmp_path, loader, name):
    data, says = TENSORS[name]
    path = tmp_path / "s.safetensors"
    path.write_bytes(data)
    refused(loader, path, says=says, memory_mb=8 * len(data) / MEGA + 50)
    with pytest.raises(StateFileError):
        mf.load(path)


@pytest.mark.parametrize(
    "name", ["s.json", "s.toml", "s.safetensors", "folder/state.toml", "folder/tensors.safetensors"]
)
def test_a_file_larger_than_allowed_is_not_read(tmp_path, loader, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    (path.parent / "state.toml").write_text("a = 1\n")
    path.touch()
    os.truncate(path, 2**41)
    refused(loader, path if path.parent == tmp_path else path.parent, says="larger than")


def test_a_file_larger_than_the_memory_is_refused(tmp_path, loader):
    path = tmp_path / "s.safetensors"
    path.touch()
    os.truncate(path, 2**35)
    report = loader(path, memory_limit=2**33)
    assert report["error"] == "StateFileError" and "larger than the memory that is left" in report["message"], report
    with pytest.raises(StateFileError, match="memory"), disk.memory_for("s"):
        raise MemoryError


@pytest.mark.parametrize("name", ["s.json", "s.toml", "s.safetensors", "s"])
def test_pipes_devices_and_sockets_are_not_opened(tmp_path, loader, name):
    path = tmp_path / name
    os.mkfifo(path)
    says = "is no folder" if name == "s" else "not a regular file"
    refused(loader, path, says=says)
    with pytest.raises(StateFileError, match=says):
        mf.save({"a": 1}, path)
    path.unlink()
    for device in ("/dev/zero", "/dev/tty"):
        path.symlink_to(device)
        refused(loader, path, says=says)
        path.unlink()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_file_that_holds_more_than_its_size_says_is_refused(tmp_path):
    (tmp_path / "s.json").symlink_to("/proc/self/status")
    with pytest.raises(StateFileError, match="changed in place while it was read"):
        mf.load(tmp_path / "s.json")


def test_a_pipe_that_takes_the_place_of_a_file_after_the_first_look_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "s.json")
    monkeypatch.setattr("msgflow.state.disk.refuse_irregular", lambda path, follow_links: None)
    with pytest.raises(StateFileError, match="not a regular file"):
        mf.load(tmp_path / "s.json")


def serve():
    """Load the files that stdin names, each in a fork, and print what came of it."""
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_AS, (wanted["memory_limit"],) * 2)
            print(json.dumps(attempt(wanted["path"])), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def attempt(path):
    peak, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    outcome = {"error": None, "message": ""}
    try:
        mf.load(path)
    except Exception as error:
        outcome = {"error": type(error).__name__, "message": str(error)}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    return outcome | {"seconds": time.process_time() - start, "memory_mb": grown / 1024}


if __name__ == "__main__":
    safetensors.numpy.load(safetensors.numpy.save({"a": numpy.zeros(1)}))
    serve()
