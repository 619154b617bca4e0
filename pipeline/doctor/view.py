"""The terminal output of `rescore doctor`: live results while the checks run, then the report."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.doctor.check import OnResult, Result, Status
from pipeline.doctor.diagnosis import Diagnosis
from pipeline.terminal.progress import resets_terminal
from pipeline.terminal.tables import Column, Listing, Paragraph, plain

_COLUMNS: Final = (Column("status", is_whole=True), Column("check"))
_STYLES: Final = {Status.OK: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim", Status.NOT_TOLD: "yellow"}


@contextmanager
def live_view(names: Sequence[str]) -> Iterator[OnResult]:
    """Yield a function that shows the results of checks on standard error as they come in, if it is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _index, _result: None
        return
    results: list[Result | None] = [None] * len(names)
    lock = threading.Lock()
    with resets_terminal(), Live(_progress(names, results), console=console, transient=True) as live:

        def show(index: int, result: Result) -> None:
            with lock:
                results[index] = result
                live.update(_progress(names, results))

        yield show


def render(diagnosis: Diagnosis) -> Group:
    """Return the report: each check with its finding, and the remedy below those that failed."""
    counts = diagnosis.counts
    told = ", ".join(f"{counts[status]} {_word(status)}" for status in Status if counts[status])
    style = "green" if diagnosis.is_ok else "bold red"
    listing = Listing(_COLUMNS, [_row(result) for result in diagnosis.results])
    return Group(listing, Paragraph(f"\n{diagnosis.project}: {told}", style))


def _progress(names: Sequence[str], results: Sequence[Result | None]) -> Listing:
    rows = zip(names, results, strict=True)
    return Listing(_COLUMNS, [_row(result) if result else (Text("…"), plain(name, "dim")) for name, result in rows])


def _row(result: Result) -> tuple[Text, Text]:
    finding = result.finding
    remedy = Text.assemble("\n→ ", plain(finding.remedy, "cyan")) if finding.remedy else Text()
    found = Text.assemble(plain(result.name, "bold"), ": ", plain(finding.detail), remedy)
    return Text(_word(finding.status), style=_STYLES[finding.status]), found


def _word(status: Status) -> str:
    return status.replace("_", " ")
