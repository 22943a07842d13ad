"""Progress bars: on a terminal only, one display for all that overlap, and the terminal is left as it was."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
import time
from functools import wraps
from unittest import mock

import pytest
from rich.progress import Progress

from msgflow import _progress
from msgflow._progress import progress_bar
from tests.eventually import eventually
from tests.in_python import run_script


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `shown` is what was written to it, without control codes."""

    def isatty(self):
        return True

    @property
    def shown(self):
        return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that rich takes for one; `@attached` makes it stdout and stderr."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def attached(test):
    """stdout and stderr of a test are its terminal, and still are at its end. pytest would undo what a fixture sets."""

    @wraps(test)
    def run(**fixtures):
        stream = fixtures["terminal"]
        with mock.patch.multiple(sys, stdout=stream, stderr=stream):
            test(**fixtures)
            assert not _progress._shown and sys.stdout is sys.stderr is stream

    return run


def on_terminal(script, stdout=None):
    """What a script writes to a terminal of its own, which is its stderr, and its stdout where that is no file."""
    ours, theirs = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.DEVNULL,
        stdout=stdout or theirs,
        stderr=theirs,
        env=env | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # Linux says that the other end is closed
        while part := os.read(ours, 65536):
            written += part
    os.close(ours)
    return written.decode(), process.wait(timeout=30)


# --- what is shown ---------------------------------------------------------------------------------------------------


@attached
def test_a_bar_shows_title_count_and_time_and_stays_as_it_was_at_the_end(terminal):
    with progress_bar("evaluate Answer", 3) as advance:
        for _ in range(3):
            advance()
    last = terminal.shown.rstrip("\n").split("\r")[-1]
    assert re.fullmatch(r"evaluate Answer ━{40} 3/3 0:00 *", last)


@attached
def test_a_bar_of_unknown_length_counts(terminal):
    with progress_bar("read", None) as advance:
        for _ in range(1234):
            advance()
    assert "1,234/?" in terminal.shown


def test_a_bar_says_how_long_the_rest_will_take_at_the_pace_so_far():
    bar = _progress._Bar("evaluate", 100)
    bar.begun -= 50
    for _ in range(25):
        bar.advance()
    assert bar.times == "0:50, 2:30 left"
    bar.begun -= 7200
    assert bar.times == "2:00:50, 6:02:30 left"


def test_nothing_is_written_where_stderr_is_no_terminal():
    script = """
        from msgflow._progress import progress_bar
        with progress_bar("evaluate", 2) as advance:
            advance()
            print("as usual")
    """
    assert run_script(script) == "as usual"  # and nothing on stderr


@attached
def test_a_bar_of_nothing_at_all_and_one_that_is_overfull_are_drawn(terminal):
    with progress_bar("none", 0):
        pass
    with progress_bar("over", 1) as advance:
        advance()
        advance()
    assert "0/0" in terminal.shown and "2/1" in terminal.shown


@attached
def test_a_title_cannot_write_control_codes_or_lines(terminal):
    with progress_bar("a\x1b[31m\nb [red]c", 1):
        pass
    assert "a\\x1b[31m b [red]c" in terminal.shown


@attached
def test_advancing_after_the_end_and_in_many_threads_is_safe(terminal):
    with progress_bar("evaluate", 4000) as advance:
        threads = [threading.Thread(target=lambda: [advance() for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    advance()
    assert "4,000/4,000" in terminal.shown


# --- several at once -------------------------------------------------------------------------------------------------


@attached
def test_a_bar_inside_of_another_shares_its_display_and_makes_way_at_its_end(terminal):
    with progress_bar("outer", 2) as advance:
        for name in ("first", "second"):
            with progress_bar(name, 1):
                eventually(lambda name=name: name in terminal.shown)
            advance()
    assert terminal.shown.rstrip().split("\r")[-1].startswith("outer ") and "2/2" in terminal.shown


@attached
def test_bars_may_end_in_any_order(terminal):
    first, second = progress_bar("first", 1), progress_bar("second", 1)
    first.__enter__()
    second.__enter__()()
    first.__exit__(None, None, None)
    assert _progress._shown
    second.__exit__(None, None, None)
    assert "second ━" in terminal.shown and terminal.shown.rstrip().split("\r")[-1].startswith("second")


@attached
def test_of_many_bars_only_some_are_drawn(terminal):
    with contextlib.ExitStack() as stack:
        for number in range(30):
            stack.enter_context(progress_bar(f"bar {number}", 1))
        eventually(lambda: "and 18 more" in terminal.shown)
    assert "bar 25" not in terminal.shown


@attached
def test_bars_that_begin_and_end_in_many_threads_leave_nothing_behind(terminal):
    def work():
        for _ in range(30):
            with progress_bar("evaluate", 1) as advance:
                advance()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@attached
def test_a_live_display_of_the_users_own_is_left_alone(terminal):
    with Progress() as progress:
        progress.add_task("theirs", total=1)
        with progress_bar("ours", 1) as advance:
            advance()
    assert "theirs" in terminal.shown and "ours" not in terminal.shown


# --- the terminal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@attached
def test_the_terminal_is_restored_after_an_error(terminal, error):
    def fail():
        with progress_bar("evaluate", 2) as advance:
            advance()
            raise error

    with pytest.raises(error):
        fail()
    assert "1/2" in terminal.shown and terminal.getvalue().endswith("\x1b[?25h")


@attached
def test_what_is_printed_goes_above_the_bar_and_nothing_of_it_is_lost(terminal):
    with progress_bar("evaluate", 1):
        print("a whole line")
        print("no end of line", end="")
        print("on stderr", file=sys.stderr)
    assert {"a whole line", "no end of line", "on stderr"} <= {
        line.strip() for line in re.split("[\r\n]", terminal.shown)
    }


def test_what_is_printed_goes_into_the_file_that_stdout_is(tmp_path):
    script = """
        from msgflow._progress import progress_bar
        with progress_bar("evaluate", 1) as advance:
            print("into the file")
            advance()
    """
    with (tmp_path / "out.txt").open("w") as file:
        written, status = on_terminal(script, file)
    assert (tmp_path / "out.txt").read_text() == "into the file\n" and status == 0
    assert "1/1" in written and "into the file" not in written


def test_a_killed_process_leaves_no_cursor_hidden():
    script = """
        import os, signal
        from msgflow._progress import progress_bar
        with progress_bar("evaluate", 1):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    written, status = on_terminal(script)
    assert status == -9 and written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


def test_ctrl_c_restores_the_terminal():
    script = """
        import os, signal, sys, time
        from msgflow._progress import progress_bar
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before = sys.stdout, sys.stderr
        try:
            with progress_bar("evaluate", 1):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(10)
        except KeyboardInterrupt:
            print("interrupted", (sys.stdout, sys.stderr) == before)
    """
    written, status = on_terminal(script)
    assert status == 0 and written.endswith("interrupted True\r\n")


def test_a_forked_process_prints_as_usual_and_draws_nothing():
    script = """
        import os, sys
        from msgflow._progress import progress_bar
        with progress_bar("evaluate", 1):
            child = os.fork()
            if child == 0:
                print("child", type(sys.stdout).__name__, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    written, status = on_terminal(script)
    assert "child TextIOWrapper" in written and status == 0


@attached
def test_what_is_shown_is_forgotten_in_a_forked_process(terminal):
    with progress_bar("evaluate", 1):
        _progress._forget()
        assert not _progress._shown and sys.stdout is sys.stderr is terminal
        _progress._forget()


@attached
def test_without_a_stdout_at_all_a_bar_is_drawn(terminal, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)
        with progress_bar("evaluate", 1):
            pass
    assert "evaluate" in terminal.shown


@attached
def test_a_thousand_bars_inside_of_one_cost_little(terminal):
    with progress_bar("outer", 1000) as advance:
        began = time.perf_counter()
        for _ in range(1000):
            with progress_bar("inner", 1):
                advance()
        assert time.perf_counter() - began < 1.0  # drawing each would take about ten seconds
