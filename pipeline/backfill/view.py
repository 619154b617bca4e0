"""How `rescore backfill` looks on a terminal: live progress, then what became of the accounts."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.backfill.runs import BackfillResult, OnProgress
from pipeline.backfill.warehouse import BackfillProgress
from pipeline.terminal.text import plain


@contextmanager
def live_progress(console: Console) -> Iterator[OnProgress]:
    """Show how many accounts have their outcome."""
    columns = (SpinnerColumn(), TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("scoring", total=None)

        def show(progress: BackfillProgress, wanted: int) -> None:
            bars.update(task, total=wanted, completed=progress.ended)

        yield show


def render(result: BackfillResult) -> Table:
    """Return the report: what became of the accounts, and what to do where something is wrong."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), caption=_advice(result), caption_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("accounts", str(result.wanted), f"as of {result.backfill.as_of:%Y-%m-%d %H:%M:%S} UTC")
    table.add_row("done before", str(result.already_done), "")
    for outcome, count in sorted(result.after.outcomes.items()):
        kind, _, reason = outcome.partition(":")
        table.add_row(kind.replace("_", " "), str(count), plain(reason))
    table.add_row("without outcome", str(result.without_outcome), "")
    table.add_row("elapsed", f"{result.elapsed_seconds:.1f} s", "")
    return table


def _advice(result: BackfillResult) -> str | None:
    if result.without_outcome:
        return "Some accounts have no outcome: go on with rescore backfill --resume, naming the same accounts."
    if result.dead_lettered:
        return "What failed is in dead_letters, and can be replayed: rescore dead-letters list."
    return None
