"""The terminal output of `rescore doctor`: live results while the checks run, then the report."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.doctor.check import OnResult, Result, Status
from pipeline.doctor.diagnosis import Diagnosis
from pipeline.terminal.tables import PADDING, plain

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
    with Live(_progress(names, results), console=console, transient=True) as live:

        def show(index: int, result: Result) -> None:
            with lock:
                results[index] = result
                live.update(_progress(names, results))

        yield show


def render(diagnosis: Diagnosis) -> Group:
    """Return the report: each check with its finding, and the remedy below those that failed."""
    table = _table()
    for result in diagnosis.results:
        _add(table, result)
    counts = diagnosis.counts
    told = ", ".join(f"{counts[status]} {_word(status)}" for status in Status if counts[status])
    style = "green" if diagnosis.is_ok else "bold red"
    return Group(table, Text(f"\n{diagnosis.project}: {told}", style=style))


def _progress(names: Sequence[str], results: Sequence[Result | None]) -> Table:
    table = _table()
    for name, result in zip(names, results, strict=True):
        if result:
            _add(table, result)
        else:
            table.add_row(Text("…", style="dim"), plain(name, "dim"))
    return table


def _table() -> Table:
    table = Table(show_header=False, box=None, padding=PADDING)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _add(table: Table, result: Result) -> None:
    finding = result.finding
    status = Text(_word(finding.status), style=_STYLES[finding.status])
    table.add_row(status, Text.assemble(plain(result.name, "bold"), ": ", plain(finding.detail)))
    if finding.remedy:
        table.add_row("", Text.assemble("→ ", plain(finding.remedy, "cyan")))


def _word(status: Status) -> str:
    return status.replace("_", " ")
