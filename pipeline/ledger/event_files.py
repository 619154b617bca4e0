"""Change events in files: a JSON document, JSON lines, or a folder of them; `-` is standard input."""

import json
from collections.abc import Iterator
from pathlib import Path

import orjson

from pipeline.terminal.input_files import is_stream, named, read_input


class EventFileError(ValueError):
    """A path has no events; the message says what was expected."""


def read_event_files(path: Path) -> Iterator[bytes]:
    """Return the events of a file or folder byte for byte; bytes that are not JSON are returned as an event, too.

    A `.jsonl` or `.ndjson` file has one event per line, a `.json` file one event or an array of them, any other file
    one message, which may itself have several events; a `.gz` file is one message, compressed as it is. Of a folder,
    files with these suffixes, `.bin` or `.xml` are read in order of name. Standard input, a FIFO or process
    substitution has no suffix: it has an event, an array of events or JSON lines, or else one message.

    Raises:
        EventFileError: The path does not exist, is a folder without such files, or a file is empty.
    """
    return (event for _, event in read_named_events(path))


def read_named_events(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Return the events of a file or folder, each with its file.

    Raises:
        EventFileError: The path does not exist, is a folder without such files, or a file is empty.
    """
    if is_stream(path):
        return ((path, event) for event in _streamed(path))
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        if not files:
            raise EventFileError(f"{path} has no events: expected files named *.json, *.jsonl or *.ndjson")
    elif path.is_file():
        files = [path]
    else:
        raise EventFileError(f"{path} does not exist: name a file or folder of change events, or - for standard input")
    for file in files:
        if _is_blank(file):
            raise EventFileError(f"{file} is empty: expected change events")
    return ((file, event) for file in files for event in _events(file))


_LINES = frozenset({".jsonl", ".ndjson"})
_SUFFIXES = _LINES | {".json", ".bin", ".xml", ".gz"}
_CHUNK_BYTES = 65_536


def _is_blank(file: Path) -> bool:
    with file.open("rb") as content:
        return not any(chunk.strip() for chunk in iter(lambda: content.read(_CHUNK_BYTES), b""))


def _events(file: Path) -> Iterator[bytes]:
    if file.suffix in _LINES:
        with file.open("rb") as lines:
            yield from (line.rstrip(b"\r\n") for line in lines if line.strip())
        return
    content = file.read_bytes()
    yield from _documents(content) if file.suffix == ".json" else [content]


def _streamed(path: Path) -> list[bytes]:
    content = read_input(path)
    if not content.strip():
        raise EventFileError(f"{named(path)} is empty: expected change events")
    lines = [line for line in content.splitlines() if line.strip()]
    return lines if len(lines) > 1 and all(map(_is_json, lines)) else _documents(content)


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True


def _documents(content: bytes) -> list[bytes]:
    """Return the documents of a JSON array; anything else is one event."""
    if content.lstrip()[:1] != b"[":
        return [content]
    try:
        # Python would write 1e400 as Infinity: a list with such a value, which orjson refuses, is one message.
        orjson.loads(content)
        return [json.dumps(document).encode() for document in json.loads(content)]
    except (ValueError, RecursionError):
        # Perhaps truncated: as one message it becomes a dead letter, where an operator sees it.
        return [content]
