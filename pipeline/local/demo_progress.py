"""The progress of a demo, and how it is shown: counting lines on a terminal, or a plain line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.terminal.progress import resets_terminal
from pipeline.terminal.tables import counted

PLAIN_SECONDS: Final = 5.0
"""The least time between two plain lines of one stage."""

UNCHANGED_SECONDS: Final = 20.0
"""The time after which a plain line is repeated, so that a reader sees that the demo goes on."""


@dataclass(frozen=True)
class DemoProgress:
    """How far a demo is: what it does, and what has become of the events."""

    stage: str
    published: int = 0
    """Messages."""
    read: int = 0
    """Messages that the pipeline has taken from the subscription."""
    skipped: int = 0
    coalesced: int = 0
    scored: int = 0
    """Accounts in Gemini's answers."""
    calls: int = 0
    written: int = 0
    """Scores that are in BigQuery."""
    dead_lettered: int = 0

    def lines(self) -> tuple[tuple[str, int, str], ...]:
        """Return the counts in the order of the pipeline's steps: a word, the number, and what is counted."""
        return (
            ("received", self.read, f"of {self.published} messages"),
            ("skipped", self.skipped, "changes that need no score"),
            ("coalesced", self.coalesced, "into another change of the account"),
            ("scored", self.scored, f"accounts in {self.calls} calls to Gemini"),
            ("written", self.written, "scores to BigQuery"),
            ("dead-lettered", self.dead_lettered, "to the dead-letter topic"),
        )


class ProgressView:
    """Shows the progress of a demo; this one shows nothing."""

    @property
    def log(self) -> Callable[[str], None] | None:
        """Writes a line of the pipeline's log; None: the pipeline writes to standard error by itself."""
        return None

    def show(self, progress: DemoProgress) -> None:
        """Show how far the demo is."""


@contextmanager
def shown_progress(console: Console) -> Iterator[ProgressView]:
    """Show progress on standard error: live where it is a terminal, in plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainProgress(lambda line: console.print(line, soft_wrap=True, markup=False, highlight=False))
        return
    with resets_terminal(), Live(console=console, transient=True, refresh_per_second=8) as live:
        yield LiveProgress(live)


class LiveProgress(ProgressView):
    """A line for each stage, which count, and vanish at the end. The log is written above them."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._spinner = Spinner("dots")

    @property
    def log(self) -> Callable[[str], None]:
        """Writes a line, which may have colours, above the counts."""
        return lambda line: self._live.console.print(Text.from_ansi(line), soft_wrap=True)

    def show(self, progress: DemoProgress) -> None:
        """Show the counts."""
        self._spinner.update(text=progress.stage)
        self._live.update(Group(self._spinner, counts_table(progress)))


def counts_table(progress: DemoProgress) -> Table:
    """Return a line for each count; a narrow terminal cuts lines off."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right", min_width=5)
    table.add_column(style="dim")  # Rich shortens only columns that may wrap
    for word, count, unit in progress.lines():
        number = Text(str(count), style="bold" if count else "dim")
        table.add_row(word, number, Text(unit, no_wrap=True, overflow="ellipsis"))
    return table


class PlainProgress(ProgressView):
    """Writes a line when a stage begins, when counts have changed for a while, and rarely when they have not."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._started_at = clock()
        self._shown = DemoProgress("")
        self._shown_at = self._started_at

    def show(self, progress: DemoProgress) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        pause = PLAIN_SECONDS if progress != self._shown else UNCHANGED_SECONDS
        if progress.stage != self._shown.stage or now - self._shown_at >= pause:
            self._write(plain_line(progress, now - self._started_at))
            self._shown, self._shown_at = progress, now


def plain_line(progress: DemoProgress, seconds: float) -> str:
    """Return the seconds since the start and the stage, with the counts if anything is published."""
    stage = f"rescore: {seconds:.0f} s: {progress.stage}"
    if not progress.published:
        return stage
    counts = ", ".join(f"{word} {count}" for word, count, _ in progress.lines())
    return f"{stage}: {counted(progress.published, 'message')}, {counts}"
