"""The events that a demo keeps."""

from pathlib import Path

from pipeline.ledger.event_files import read_event_files
from pipeline.local.demo_input import kept_events


def test_kept_events_are_read_as_they_were_published(tmp_path: Path) -> None:
    """All events go on; those that are a line are in the file, byte for byte."""
    lines = [b'{"a": 1}', b"\xff\xfe not text", b" padded "]
    others = [b"", b"two\nlines", b"old\rline", b"  "]
    events = [lines[0], *others, *lines[1:]]
    file = tmp_path / "events.jsonl"
    assert list(kept_events(events, file)) == events
    assert list(read_event_files(file)) == lines


def test_a_later_demo_replaces_the_events(tmp_path: Path) -> None:
    """The file belongs to the last demo that kept its data in the folder."""
    file = tmp_path / "events.jsonl"
    for events in ([b"1", b"2"], [b"3"]):
        assert list(kept_events(events, file)) == events
    assert file.read_bytes() == b"3\n"
