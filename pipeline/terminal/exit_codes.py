"""How commands end: 0 done; 1 done, and something is wrong; 2 bad usage or configuration, or a service is out of reach.

`signals` beside this has the codes of signals, `command_group` the errors of typer and of the output.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NoReturn

import typer

from pipeline.terminal.error_lines import told
from pipeline.terminal.progress import waiting
from pipeline.terminal.results import OutputFailed
from transforms.errors import RescoringError


@contextmanager
def command(*, verbose: bool, doing: str | None = None) -> Iterator[None]:
    """Run a command's body: configure the logs, and turn errors into one line and exit code 2.

    Args:
        verbose: Whether to log more than warnings.
        doing: What a terminal shows while the body runs, such as "reading the ledger"; None: the body shows it itself.
    """
    from pipeline.terminal.logs import configure_logging  # noqa: PLC0415 - structlog takes 0.1 s to import

    configure_logging(verbose=verbose)
    # Outside Google Cloud its clients try a metadata server three times, by default for longer than a person waits.
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")
    with one_line_errors(), waiting(doing) if doing else nullcontext():
        yield


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors that the user can fix into one line on standard error and exit code 2."""
    try:
        yield
    except (typer.Exit, typer.Abort, OutputFailed):
        raise
    except (ValueError, OSError, RescoringError, RuntimeError) as error:
        refuse(told(error))
    except _google_errors() as error:
        refuse(told(error))


def _google_errors() -> tuple[type[Exception], ...]:
    """Return the errors of Google's clients, as far as they are imported: importing them takes a third of a second."""
    errors = ("google.api_core.exceptions", "GoogleAPIError"), ("google.auth.exceptions", "GoogleAuthError")
    return tuple(getattr(sys.modules[module], name) for module, name in errors if module in sys.modules)


def refuse(message: str) -> NoReturn:
    """Write a message to standard error, each line prefixed with the command's name, and exit with code 2."""
    for line in message.splitlines() or [message]:
        typer.echo(f"rescore: {line}", err=True)
    raise typer.Exit(2)
