"""How a command prints its result: one JSON document, or a report for people."""

import datetime as dt
import json
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import typer
from rich.console import Console, RenderableType


class Result(Protocol):
    """The result of a command."""

    def document(self) -> Any:
        """Return what `--json` prints: JSON values and times."""


R = TypeVar("R", bound=Result)


def end_with(result: R, render: Callable[[R], RenderableType], *, as_json: bool, is_ok: bool = True) -> None:
    """Print a result on standard output, as JSON or rendered; exit with code 1 if it is not ok.

    Raises:
        typer.Exit: The result is not ok.
    """
    if as_json:
        sys.stdout.write(json.dumps(result.document(), indent=2, default=_json_value) + "\n")
    else:
        # A line that is wider than the terminal, such as a command, is left to the terminal, which can copy it whole.
        Console().print(render(result), crop=False)
    if not is_ok:
        raise typer.Exit(1)


def _json_value(value: Any) -> str:
    """Return a time as RFC 3339, in the one form that every document has; anything else as its text."""
    return value.astimezone(dt.UTC).isoformat() if isinstance(value, dt.datetime) else str(value)
