"""Change events in files are read byte for byte."""

from pathlib import Path

import pytest

from pipeline.ledger.event_files import EventFileError, read_event_files


def test_a_file_is_an_event(tmp_path: Path) -> None:
    """A JSON document is one message, with its white space."""
    file = tmp_path / "one.json"
    file.write_bytes(b'{\n "a": 1 }\n')
    assert list(read_event_files(file)) == [b'{\n "a": 1 }\n']


def test_lines_are_events(tmp_path: Path) -> None:
    """Each line is a message, also if it is not JSON; empty lines are skipped."""
    file = tmp_path / "many.jsonl"
    file.write_bytes(b'{"a": 1}\n\n\xff\xfe\r\n{"b": 2}')
    assert list(read_event_files(file)) == [b'{"a": 1}', b"\xff\xfe", b'{"b": 2}']


def test_an_array_is_its_elements(tmp_path: Path) -> None:
    """Each event of an array is a message."""
    file = tmp_path / "array.json"
    file.write_bytes(b'[{"a": 1}, {"b": 2}]')
    assert list(read_event_files(file)) == [b'{"a": 1}', b'{"b": 2}']


@pytest.mark.parametrize("content", [b'[{"a": 1}, {', b"[" * 100_000, b"[\xff]"])
def test_an_array_that_cannot_be_read_is_one_event(tmp_path: Path, content: bytes) -> None:
    """It is published unchanged, and the pipeline refuses it."""
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    assert list(read_event_files(file)) == [content]


@pytest.mark.parametrize("value", [b"1e400", b"1" * 400, rb'"\ud800"', b'"\xe9"'])
def test_an_array_with_values_that_nothing_holds_is_one_message(tmp_path: Path, value: bytes) -> None:
    """Written again, they would be others; the pipeline reads the message's events one by one."""
    file = tmp_path / "array.json"
    file.write_bytes(b'[{"a": ' + value + b'}, {"b": 2}]')
    assert list(read_event_files(file)) == [file.read_bytes()]


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    """Other files, such as a README, are skipped."""
    for name, content in (("b.json", b"2"), ("a.json", b"1"), ("README.md", b"no"), ("c.ndjson", b"3\n4\n")):
        (tmp_path / name).write_bytes(content)
    assert list(read_event_files(tmp_path)) == [b"1", b"2", b"3", b"4"]


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    """An empty folder and a missing file are named."""
    with pytest.raises(EventFileError, match="json"):
        list(read_event_files(tmp_path))
    with pytest.raises(EventFileError, match="does not exist"):
        list(read_event_files(tmp_path / "missing.json"))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.bin"])
@pytest.mark.parametrize("content", [b"", b" \r\n\n"])
def test_an_empty_file_has_no_event(tmp_path: Path, name: str, content: bytes) -> None:
    """It is refused before the events of another file are read."""
    (tmp_path / "0.json").write_bytes(b"{}")
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(EventFileError, match=f"{name} is empty"):
            read_event_files(path)
