"""How commands end: 0 done; 1 done, and something is wrong; 2 bad usage or configuration, a line for each fault."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2."""
    from google.api_core.exceptions import GoogleAPICallError  # noqa: PLC0415 - takes a second to import
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

    from transforms.errors import RescoringError  # noqa: PLC0415

    try:
        yield
    except (ValueError, OSError, RescoringError, RuntimeError, GoogleAPICallError, GoogleAuthError) as error:
        refuse(str(error))


@contextmanager
def ends_in_order() -> Iterator[None]:
    """End at Ctrl-C and SIGTERM alike: what was started is stopped, and no traceback is shown."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def refuse(message: str) -> NoReturn:
    """End with exit code 2 and a line on standard error that says what to change; one for each thing there is."""
    for line in message.splitlines() or [message]:
        typer.echo(f"rescore: {line}", err=True)
    raise typer.Exit(2)
