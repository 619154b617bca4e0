"""Progress on standard error, if it is a terminal: a bar, or what the command waits for."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from pipeline.terminal.signals import last_act

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS: Final = 1.0
"""What takes less time shows nothing: a text that flashes by is noise."""

_RESET: Final = b"\x1b[?25h\r\x1b[2K"
"""Shows the cursor, which live displays hide, and clears the line."""


@contextmanager
def progress_bar() -> "Iterator[Progress]":
    """Yield a progress bar with description, count and time; it shows on terminals only, and vanishes at the end."""
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, which --help does not need
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with resets_terminal(), bar:
        yield bar


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows a count, of which the end is unknown."""
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.update(task, completed=count)


@contextmanager
def resets_terminal() -> Iterator[None]:
    """Leave the terminal usable if a signal ends the command in the body, which has a live display."""
    if not sys.stderr.isatty():
        yield
        return
    with last_act(lambda: os.write(sys.stderr.fileno(), _RESET)):
        yield


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on a terminal what the body does, once it has taken a second."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - 0.1 s, which --help does not need

    status = Console(stderr=True).status(f"{what} …")
    timer = threading.Timer(PATIENCE_SECONDS, status.start)
    with ExitStack() as ends, resets_terminal():
        ends.callback(status.stop)
        ends.callback(timer.join)
        ends.callback(timer.cancel)
        timer.start()
        yield
