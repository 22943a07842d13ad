"""LazyLLM in an environment and processes of its own, which take turns with msgflow in one run."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = "1.4.0"
FOLDER = Path(__file__).parent.parent / ".venv-lazyllm"
PYTHON = FOLDER / "bin" / "python"


class Side:
    """A process that calls LazyLLM's flows when it is asked to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None and process.stdout is not None
        self.questions, self.answers = process.stdin, process.stdout

    def round(self, what: str, calls: int) -> float:
        """Microseconds a call. Raises RuntimeError with the message of what LazyLLM raises."""
        print(calls, what, file=self.questions, flush=True)
        answer = self.answers.readline().strip()
        try:
            return float(answer)
        except ValueError:
            raise RuntimeError(answer or "LazyLLM's process has ended") from None


def missing() -> str | None:
    """Why LazyLLM cannot be measured here, or None. Installs it where that has not been done."""
    check = f"from importlib.metadata import version; assert version('lazyllm') == {VERSION!r}"
    if PYTHON.exists() and not subprocess.run([PYTHON, "-c", check], stderr=subprocess.DEVNULL).returncode:
        return None
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
    pip = [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check", "install", f"lazyllm=={VERSION}"]
    if not subprocess.run(pip).returncode:
        return None
    return f"LazyLLM {VERSION} cannot be installed here: these are the times of msgflow alone."


@contextmanager
def lazyllm_side(*, tracing: bool) -> Iterator[Side]:
    # It writes its logs into the user's home where it has none of its own.
    settings = {"LAZYLLM_HOME": str(FOLDER / "home"), "LAZYLLM_TRACE_ENABLED": str(int(tracing))}
    with subprocess.Popen(
        [PYTHON, Path(__file__).with_name("lazyllm_rounds.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # where it logs every error
        text=True,
        env=os.environ | settings,
    ) as process:
        try:
            yield Side(process)
        finally:
            process.kill()
