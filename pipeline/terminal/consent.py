"""Commands that spend money or move a subscription show their plan first, and act when they are told to."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import RenderableType

from pipeline.terminal.results import R, end_with, output

Execute = Annotated[
    bool,
    typer.Option(
        "--execute", "--yes", "-y", help="Do it; else only say what would be done, and ask if this is a terminal."
    ),
]

NOT_DONE = "This is the plan; nothing was done. With --execute it is carried out."


def agreed(planned: R, render: Callable[[R], RenderableType], question: str | None, *, as_json: bool) -> bool:
    """Print a plan, and return whether to carry it out: only a person at a terminal can agree.

    Args:
        planned: The plan.
        render: Makes a report of it.
        question: What to ask; None if there is nothing to do.
        as_json: Print one JSON document instead, and don't ask.
    """
    end_with(planned, render, as_json=as_json)
    if as_json:
        return False
    if question and sys.stdin.isatty() and sys.stdout.isatty() and typer.confirm(question):
        return True
    with output():
        typer.echo(NOT_DONE)
    return False
