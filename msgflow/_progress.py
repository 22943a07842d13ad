"""A progress bar on stderr, where that is a terminal; nothing anywhere else.

rich draws one live display at a time, and the bars of calls that overlap share one. No lock guards it: a dict's
`setdefault` decides which display that is, and the last bar to leave it ends it. One that begins in another thread in
the moment in which the last one ends may not be seen.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from msgflow._printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROWS = 12  # a bar for each of a thousand calls that overlap would fill the screen


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[], object]]:
    """Show how many of `total` items are done, None where nobody knows how many there are.

    Gives the function to call, from any thread, when one more is. The bar stays on the screen as it was at the end; one
    that ends before others that are shown makes way for them. What is printed meanwhile goes above it.
    """
    bar = _Bar(printable(" ".join(title.split())), total)
    try:
        _join(bar)
        yield bar.advance
    finally:
        if bar.display is not None:
            bar.display.leave(bar)


class _Bar:
    """What one bar shows. `done` is as long as the count: `append` is atomic in threads, `+=` is not."""

    display: "_Display | None" = None

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total, self.begun = title, total, monotonic()
        self.done = bytearray()

    def advance(self) -> None:
        self.done.append(0)

    @property
    def count(self) -> str:
        return f"{len(self.done):,}/{'?' if self.total is None else f'{self.total:,}'}"

    @property
    def times(self) -> str:
        """The time that it took so far, and the time that the rest will take at this pace."""
        taken, done = monotonic() - self.begun, len(self.done)
        if self.total is None or not 0 < done < self.total:
            return _clock(taken)
        return f"{_clock(taken)}, {_clock(taken / done * (self.total - done))} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class _Display:
    """The bars that are shown now, drawn ten times a second by a thread of rich's."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live

        self.console = console
        self.bars: dict[_Bar, None] = {}
        # What is printed goes above the bars, through this console. Where stdout is a file it must not come to that.
        beside = sys.stdout is not None and sys.stdout.isatty()
        self.live = Live(console=console, get_renderable=self.drawn, refresh_per_second=10, redirect_stdout=beside)

    def drawn(self) -> "Table":
        from rich.progress_bar import ProgressBar
        from rich.table import Column, Table
        from rich.text import Text

        table = Table.grid(Column(no_wrap=True), Column(), Column(justify="right"), Column(), padding=(0, 1))
        for bar in tuple(self.bars)[:ROWS]:
            line = ProgressBar(bar.total, len(bar.done), width=40)
            table.add_row(Text(bar.title), line, Text(bar.count), Text(bar.times))
        if len(self.bars) > ROWS:
            table.add_row(Text(f"and {len(self.bars) - ROWS} more"))
        return table

    def show(self) -> None:
        if not self.live.is_started:
            self.live.start(refresh=True)
            self.console.show_cursor(True)  # a killed process cannot give back a cursor that is hidden

    def leave(self, bar: _Bar) -> None:
        if self.bars.keys() == {bar} and _shown.get(_NOW) is self:
            _shown.pop(_NOW, None)
        if self.bars.keys() == {bar}:  # still: else one has joined just now, and ends it
            self._end()
        self.bars.pop(bar, None)

    def _end(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if _is_redirected(stream):
                stream.flush()  # a line without an end, which rich keeps back
        self.live.stop()


_NOW = "now"
_shown: dict[str, _Display] = {}  # at most one


def _join(bar: _Bar) -> None:
    """Put a bar into the display that is shown; into none where there is no terminal, or somebody else draws there."""
    display = _shown.get(_NOW)
    if display is None:
        from rich.console import Console

        console = Console(stderr=True)
        if _is_redirected(sys.stderr) or not (console.is_interactive or console.is_jupyter):
            return
        display = _shown.setdefault(_NOW, _Display(console))
    bar.display, display.bars[bar] = display, None
    display.show()


def _is_redirected(stream: object) -> bool:
    """Whether rich has put itself before a stream, as it does while it shows something live."""
    return hasattr(stream, "rich_proxied_file")


def _forget() -> None:
    """In a forked child nothing draws, and the locks of what is shown may be held for ever."""
    if _shown:
        _shown.clear()
        sys.stdout = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
        sys.stderr = getattr(sys.stderr, "rich_proxied_file", sys.stderr)


os.register_at_fork(after_in_child=_forget)
