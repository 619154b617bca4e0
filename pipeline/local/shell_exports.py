"""The local stack in a shell's environment variables: which one they point to, and how they are handed on.

A stack is whole: a new one uses nothing of the stack whose exports the shell has. PUBSUB_EMULATOR_HOST alone is no
stack's: it names another Pub/Sub emulator, such as Google's, which the new stack then uses.
"""

import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

PUBSUB: Final = "PUBSUB_EMULATOR_HOST"
CONTROL: Final = "LOCAL_STACK_CONTROL"
"""The address at which `rescore local fail` reaches the stack."""

_OTHER_EXPORTS: Final = (CONTROL, "BIGQUERY_EMULATOR_HOST", "GOOGLE_VERTEX_BASE_URL")

_EXPORT: Final = re.compile(r"export ([A-Z_]+)=")
_ANSWER_SECONDS: Final = 1.0

NO_STACK: Final = "this shell points to no local stack: start rescore local, and paste the exports that it prints here"


def stack_of_shell(environment: Mapping[str, str]) -> str | None:
    """Return the Pub/Sub address of the local stack whose exports an environment has; None if it has none's."""
    host = environment.get(PUBSUB)
    return host if host and any(environment.get(name) for name in _OTHER_EXPORTS) else None


def other_pubsub(environment: Mapping[str, str]) -> str | None:
    """Return the address of the Pub/Sub emulator that a new stack uses; None if it starts its own."""
    return None if stack_of_shell(environment) else environment.get(PUBSUB) or None


def what_is_found(environment: Mapping[str, str]) -> str | None:
    """Return what a person must know about the environment before a stack starts in it; None if there is nothing."""
    if host := stack_of_shell(environment):
        return (
            f"this shell has the exports of a local stack ({PUBSUB}={host}): another one starts, with addresses of its "
            "own, and does not touch it"
        )
    if host := other_pubsub(environment):
        return f"Pub/Sub is the emulator at {host}, which {PUBSUB} names; unset it to have the local stack's own"
    return None


def export_lines(exports: Mapping[str, str]) -> str:
    """Return the lines that a shell reads the variables from."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in exports.items())


def read_exports(text: str) -> dict[str, str] | None:
    """Return the variables that lines of `export_lines` export; None if the text has others."""
    lines = text.splitlines()
    if not all(map(_EXPORT.match, lines)):
        return None
    try:
        return dict(assignment.split("=", 1) for _export, assignment in map(shlex.split, lines))
    except ValueError:  # an open quotation mark, or several words
        return None


def check_exports_file(path: Path) -> None:
    """Check that a new stack's exports may be written to a file: nothing that somebody needs is lost.

    Raises:
        ValueError: There is no folder for it, or it holds something else, or the exports of a stack that runs.
        OSError: It can't be read.
    """
    if not path.parent.is_dir():
        raise ValueError(f"--write-env: the folder {path.parent} does not exist")
    if not path.is_file():
        return
    exports = read_exports(path.read_text(encoding="utf-8", errors="replace"))
    if exports is None:
        raise ValueError(f"--write-env: {path} has other lines than a local stack's exports: name another file")
    address = next((exports[name] for name in _OTHER_EXPORTS if exports.get(name)), "")
    if address and _listens(address):
        raise ValueError(
            f"--write-env: {path} points to a local stack that runs ({PUBSUB}={exports.get(PUBSUB)}): end that one, or "
            "name another file"
        )


def _listens(url: str) -> bool:
    """Return whether something takes connections at a URL."""
    try:
        where = urlsplit(url)
        with socket.create_connection((where.hostname or "", where.port or 80), timeout=_ANSWER_SECONDS):
            return True
    except (OSError, ValueError):  # nothing does, or the port is no number
        return False


def dot_name(path: Path) -> str:
    """Return a file's name as the shell's command `.` needs it: it looks up a name without a slash on the PATH."""
    name = str(path)
    return shlex.quote(name if "/" in name else f"./{name}")


@contextmanager
def written_exports(path: Path, exports: Mapping[str, str]) -> Iterator[None]:
    """Have the exports in a file, readable by its owner only, while the body runs. A reader sees all of it or nothing.

    Raises:
        OSError: The file can't be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(export_lines(exports))
        part.replace(path)
        yield
    finally:
        part.unlink(missing_ok=True)
        # Another stack may have written it since.
        if path.is_file() and path.read_text(encoding="utf-8") == export_lines(exports):
            path.unlink()
