"""Change events in files: a JSON document, JSON lines, or a folder of them."""

import json
from collections.abc import Iterator
from pathlib import Path


class EventFileError(ValueError):
    """A path has no events; the message says what is wanted."""


def read_event_files(path: Path) -> Iterator[bytes]:
    """Return the events of a file or folder byte for byte; what is no JSON is an event too, to be refused downstream.

    A `.jsonl` or `.ndjson` file has an event a line, a `.json` file one event or an array of them, any other file one
    message. Of a folder, files whose names end in one of those, or in `.bin` or `.xml`, are read in order of name.

    Raises:
        EventFileError: There is nothing of the kind at the path.
    """
    return (event for _, event in read_named_events(path))


def read_named_events(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Return the events of a file or folder, each with the file that it is from.

    Raises:
        EventFileError: There is nothing of the kind at the path.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        if not files:
            raise EventFileError(f"{path} has no events: files named *.json, *.jsonl or *.ndjson are wanted")
    elif path.is_file():
        files = [path]
    else:
        raise EventFileError(f"{path} does not exist: name a file of change events, or a folder of them")
    return ((file, event) for file in files for event in _events(file))


_LINES = frozenset({".jsonl", ".ndjson"})
_SUFFIXES = _LINES | {".json", ".bin", ".xml"}


def _events(file: Path) -> Iterator[bytes]:
    if file.suffix in _LINES:
        with file.open("rb") as lines:
            yield from (line.rstrip(b"\r\n") for line in lines if line.strip())
        return
    content = file.read_bytes()
    if file.suffix == ".json" and content.lstrip()[:1] == b"[":
        try:
            events = [json.dumps(document).encode() for document in json.loads(content)]
        except (ValueError, RecursionError):
            # Truncated perhaps; as a message of its own it ends as a dead letter, where somebody sees it.
            events = [content]
        yield from events
        return
    yield content
