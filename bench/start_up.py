"""How long imports take, each in a fresh interpreter, and the demo's way to its first answer."""

import re
import statistics
import subprocess
import sys
import time

STATEMENTS = {"import msgflow": 40, "import msgflow.nn as nn; nn.Agent": 150}


def main() -> list[str]:
    """Rows of a Markdown table."""
    rows = ["| what | measured | at most |", "|---|---|---|"]
    bare = _milliseconds("pass")
    for statement, limit in STATEMENTS.items():
        rows.append(f"| `{statement}`, over a bare interpreter ({bare:.0f} ms) | "
                    f"{_milliseconds(statement) - bare:.0f} ms | {limit} ms |")  # fmt: skip
    demo = [_seconds_to_first_answer() for _ in range(3)]
    rows.append(f"| `msgflow demo`, first answer from a warm cache | {statistics.median(demo):.1f} s | 5 s |")
    return rows


def _milliseconds(statement: str) -> float:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return (time.perf_counter() - start) * 1e3

    once()
    return statistics.median(once() for _ in range(15))


def _seconds_to_first_answer() -> float:
    """From the start of the process until the first answer is on its output."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "msgflow.cli", "demo"], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if re.match("answer:", line):
                taken = time.perf_counter() - start
                demo.stdout.read()
                return taken
    raise RuntimeError("the demo gave no answer")


if __name__ == "__main__":
    print("\n".join(main()))
