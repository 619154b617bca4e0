"""How commands end: 0 done; 1 done, and something is wrong; 2 bad usage or configuration; 130 Ctrl-C or SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from pipeline.terminal.logs import configure_logging


@contextmanager
def command(*, verbose: bool) -> Iterator[None]:
    """Run a command's body: configure the logs, turn errors into one line, and end in order."""
    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        yield


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors that the user can fix into one line on standard error and exit code 2."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - takes a second to import
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    from transforms.errors import RescoringError  # noqa: PLC0415

    try:
        yield
    except (ValueError, OSError, RescoringError, RuntimeError, GoogleAPICallError, GoogleAuthError) as error:
        refuse(str(error))


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C: run the cleanup of everything that was started, and show no traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def refuse(message: str) -> NoReturn:
    """Write a message to standard error, each line prefixed with the command's name, and exit with code 2."""
    for line in message.splitlines() or [message]:
        typer.echo(f"rescore: {line}", err=True)
    raise typer.Exit(2)
