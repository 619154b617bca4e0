"""Files that commands read: paths, `-` for standard input, /dev/stdin, FIFOs and process substitution."""

import sys
from pathlib import Path
from typing import Final

STANDARD_INPUT: Final = Path("-")


def named(path: Path) -> str:
    """Return what a person calls a path."""
    return "standard input" if path == STANDARD_INPUT else str(path)


def is_stream(path: Path) -> bool:
    """Return whether a path is read once, from its beginning to its end: standard input, a FIFO or a device."""
    return path == STANDARD_INPUT or (path.exists() and not path.is_file() and not path.is_dir())


def read_input(path: Path) -> bytes:
    """Return the content of a file; `-` is standard input.

    Raises:
        ValueError: The path does not exist, or is a folder.
        OSError: It can't be read.
    """
    if path == STANDARD_INPUT:
        return sys.stdin.buffer.read()
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file, or - for standard input")
    if not path.exists():
        raise ValueError(f"{path} does not exist: name a file, or - for standard input")
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the text of a file, which is UTF-8, without a byte order mark.

    Raises:
        ValueError: The path does not exist, is a folder, or is not UTF-8.
        OSError: It can't be read.
    """
    try:
        return read_input(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{named(path)} is not UTF-8 at byte {error.start}: save it as UTF-8") from None
