"""Files, standard input, FIFOs and process substitution."""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.backfill.warehouse import read_account_ids
from pipeline.evaluation.labels import read_labels
from pipeline.ledger.event_files import EventFileError, read_event_files
from pipeline.terminal.input_files import STANDARD_INPUT, is_stream, read_input, read_text

EVENT = b'{"ChangeEventHeader": {}}'
ACCOUNTS = b"001000000000001AAA\n"
LABELS = b"account_id,outcome,closed_on\n001000000000001AAA,won,2026-03-02\n"


@pytest.fixture(params=["-", "fd", "fifo"])
def stream(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Return a function that makes a stream of a content."""

    def make(content: bytes) -> Path:
        if request.param == "-":
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
            return Path("-")
        if request.param == "fd":  # as `<(…)` in bash
            reading, writing = os.pipe()
            os.write(writing, content)
            os.close(writing)
            return Path(f"/dev/fd/{reading}")
        os.mkfifo(tmp_path / "fifo")
        threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(content,), daemon=True).start()
        return tmp_path / "fifo"

    return make


def test_every_command_reads_streams(stream: Callable[[bytes], Path]) -> None:
    """Change events."""
    path = stream(EVENT)
    assert is_stream(path)
    assert list(read_event_files(path)) == [EVENT]


def test_account_ids_may_come_from_a_stream(stream: Callable[[bytes], Path]) -> None:
    """Of a backfill."""
    assert read_account_ids(stream(ACCOUNTS)) == ["001000000000001AAA"]


def test_labels_may_come_from_a_stream(stream: Callable[[bytes], Path]) -> None:
    """Of an evaluation."""
    assert [label.account_id for label in read_labels(stream(LABELS))] == ["001000000000001AAA"]


@pytest.mark.parametrize(
    ("content", "events"),
    [
        (EVENT, [EVENT]),
        (b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}\n']),
        (b'[{"a": 1}, {"b": 2}]', [b'{"a": 1}', b'{"b": 2}']),
        (b'{"a": 1}\n\n{"b": 2}\r\n', [b'{"a": 1}', b'{"b": 2}']),
        (b"<xml>\nno JSON</xml>", [b"<xml>\nno JSON</xml>"]),
        (b'{"a": 1}\nno JSON\n', [b'{"a": 1}\nno JSON\n']),
    ],
)
def test_a_stream_has_one_event_an_array_or_lines(
    monkeypatch: pytest.MonkeyPatch, content: bytes, events: list[bytes]
) -> None:
    """It has no suffix that would say which; what is none of them is one message, byte for byte."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert list(read_event_files(STANDARD_INPUT)) == events


def test_an_empty_stream_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most likely the command before it failed."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(EventFileError, match="standard input is empty"):
        list(read_event_files(STANDARD_INPUT))


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError, match="is a folder: name a file, or - for standard input"):
        read_input(tmp_path)
    with pytest.raises(ValueError, match="does not exist: name a file, or - for standard input"):
        read_input(tmp_path / "missing")
    (tmp_path / "latin").write_bytes(b"Z\xfcrich")
    with pytest.raises(ValueError, match="not UTF-8 at byte 1"):
        read_text(tmp_path / "latin")


def test_files_and_folders_are_no_streams(tmp_path: Path) -> None:
    """They are read by their suffix."""
    (tmp_path / "a.json").write_bytes(EVENT)
    assert not is_stream(tmp_path)
    assert not is_stream(tmp_path / "a.json")
    assert not is_stream(tmp_path / "missing")
