"""How `rescore doctor` looks on a terminal: a line a check while they are made, then the report."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.doctor.check import OnResult, Result, Status
from pipeline.doctor.diagnosis import Diagnosis
from pipeline.terminal.text import plain

_STYLES: Final = {Status.OK: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim", Status.NOT_TOLD: "yellow"}


def live_view(console: Console) -> Callable[[Sequence[str]], AbstractContextManager[OnResult]]:
    """Return what shows the checks on a console while they are made, if it is a terminal."""

    @contextmanager
    def start(names: Sequence[str]) -> Iterator[OnResult]:
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

    return start


def render(diagnosis: Diagnosis) -> Group:
    """Return the report: each check with what it found, and under what failed how to mend it."""
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
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
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
