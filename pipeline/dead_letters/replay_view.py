"""A replay on a terminal: how far it is, and how it ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipeline.dead_letters.replay import Totals
from pipeline.dead_letters.replay_session import ReplayResult
from pipeline.terminal.tables import fact_table
from pipeline.terminal.text import plain


@contextmanager
def replay_progress(console: Console, max_letters: int | None) -> Iterator[Callable[[Totals], None]]:
    """Yield what takes a replay's totals and shows them; nothing is shown where nobody looks."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("replaying", total=max_letters)

        def show(totals: Totals) -> None:
            text = f"replayed {totals.replayed}, parked {totals.parked}, came back {totals.came_back}"
            progress.update(task, description=text, completed=totals.replayed + totals.parked)

        yield show


def render(result: ReplayResult) -> Group:
    """Return how a replay ended."""
    of, style = result.totals, "green" if result.is_ok else "bold red"
    facts = fact_table(
        ("replayed", str(of.replayed)),
        ("parked", str(of.parked)),
        ("came back", f"{of.came_back} so far: `status` tells later what became of them"),
        ("handed back", f"{of.handed_back} that did not match, or came back"),
        ("seconds", f"{result.seconds:.1f}"),
    )
    return Group(plain(f"replay {result.start.replay_id} {result.ending.entry}: {result.ending.message}", style), facts)
