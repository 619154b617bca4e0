"""How a command prints its result: one JSON document, or a report for people."""

import datetime as dt
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol, TypeVar

import typer
from rich.console import Console, RenderableType

from pipeline.terminal.times import rfc3339


class OutputFailed(Exception):
    """Standard output took no more: its reader is gone, or the disk is full. The cause is the system's error."""


class Result(Protocol):
    """The result of a command."""

    def document(self) -> Any:
        """Return what `--json` prints: JSON values and times."""


R = TypeVar("R", bound=Result)


class _Report(Console):
    """Rich's console, which by itself ends the command when the reader has gone."""

    def on_broken_pipe(self) -> NoReturn:
        raise OutputFailed from sys.exception()


def end_with(result: R, render: Callable[[R], RenderableType], *, as_json: bool, is_ok: bool = True) -> None:
    """Print a result on standard output, as JSON or rendered; exit with code 1 if it is not ok.

    Raises:
        OutputFailed: It can't be printed.
        typer.Exit: The result is not ok.
    """
    with output():
        if as_json:
            sys.stdout.write(json.dumps(result.document(), indent=2, default=_json_value) + "\n")
        else:
            # A line that is wider than the terminal, such as a command, is left to it: it can be copied whole.
            _Report().print(render(result), crop=False)
    if not is_ok:
        raise typer.Exit(1)


@contextmanager
def output() -> Iterator[None]:
    """Print the body's output now.

    Raises:
        OutputFailed: Standard output takes no more.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed from error


def _json_value(value: object) -> str:
    """Return a value that JSON lacks as text; every time has the same form."""
    return rfc3339(value) if isinstance(value, dt.datetime) else str(value)
