"""How commands end: 0 done; 1 done, and something is wrong; 2 bad usage or configuration; 130 Ctrl-C or SIGTERM."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from pipeline.terminal.logs import configure_logging
from transforms.errors import RescoringError


@contextmanager
def command(*, verbose: bool) -> Iterator[None]:
    """Run a command's body: configure the logs, turn errors into one line, and end in order."""
    configure_logging(verbose=verbose)
    with one_line_errors(), ends_in_order():
        yield


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors that the user can fix into one line on standard error and exit code 2."""
    try:
        yield
    except (ValueError, OSError, RescoringError, RuntimeError) as error:
        refuse(str(error))
    except _google_errors() as error:
        refuse(str(error))


def _google_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Google's clients, as far as they are imported: importing them takes a third of a second."""
    errors = ("google.api_core.exceptions", "GoogleAPICallError"), ("google.auth.exceptions", "GoogleAuthError")
    return tuple(getattr(sys.modules[module], name) for module, name in errors if module in sys.modules)


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
