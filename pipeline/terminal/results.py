"""How a command prints its result: one JSON document, or a report for people."""

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
        sys.stdout.write(json.dumps(result.document(), indent=2, default=str) + "\n")
    else:
        Console().print(render(result))
    if not is_ok:
        raise typer.Exit(1)
